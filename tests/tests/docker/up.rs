//! `ecsr up` and `ecsr down` on this machine's engine: the whole of it in two commands, as often as one likes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use ecsr_tests::engine::of_cluster;
use ecsr_tests::spec::{task, web};
use ecsr_tests::world::free_port;
use ecsr_tests::{Engine, process};
use serde_json::Value;
use tempfile::TempDir;

/// A data directory, and the command line on it. Dropping it takes everything down.
struct Home {
    dir: TempDir,
    port: String,
    cluster: String,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ecsr-up-").tempdir().expect("a directory can be made");
        let port = free_port().to_string();
        Self { dir, cluster: format!("up-{port}"), port }
    }

    fn data_dir(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, args: &[&str]) -> Output {
        let inherited = ["PATH", "HOME", "DOCKER_HOST", "RUST_BACKTRACE"];
        let mut environment: BTreeMap<String, String> = inherited
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        environment.insert("ECSR_DATA_DIR".to_owned(), self.data_dir());
        process::run(args, &environment)
    }

    /// What `ecsr <args>` prints; it must succeed.
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "ecsr {}: {said}", args.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn up(&self) -> String {
        self.done(&["up", "--detach", "--port", &self.port, "--cluster", &self.cluster])
    }

    /// What `ecsr <args> -o json` answers.
    fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.done(&args)).expect("-o json prints JSON")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let output = self.run(&["down", "--purge"]);
        if !output.status.success() {
            eprintln!("ecsr down --purge: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[tokio::test]
async fn from_nothing_to_a_service_and_back_to_nothing() {
    let engine = Engine::connect().await;
    let home = Home::new();
    home.up();
    home.up();
    let instances = home.json(&["instance", "list"]);
    assert!(instances.to_string().contains("ACTIVE"), "{instances:#}");

    let file = home.dir.path().join("web.json");
    fs::write(&file, task("web", &[web()]).to_string()).expect("the directory is writable");
    home.done(&["td", "register", &file.display().to_string()]);
    home.done(&["service", "create", "--task-definition", "web", "--count", "3", "--wait"]);
    let before = engine.list(&[of_cluster(&home.cluster)]).await;
    assert_eq!(before.iter().filter(|one| one.state == "running").count(), 3);

    home.done(&["down"]);
    assert_eq!(engine.list(&[of_cluster(&home.cluster)]).await, before, "tasks keep running");
    home.done(&["down"]);
    home.up();
    let service = home.json(&["service", "describe", "web"]);
    assert!(service.to_string().contains("\"runningCount\":3"), "{service:#}");
    assert_eq!(engine.list(&[of_cluster(&home.cluster)]).await, before, "the same containers");

    home.done(&["down", "--purge"]);
    assert_eq!(engine.list(&[of_cluster(&home.cluster)]).await, []);
    assert!(!home.dir.path().join("data").exists());
}

#[tokio::test]
async fn env_prints_what_aws_tools_need_and_keys_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.done(&["up", "--detach", "--no-agent", "--port", &home.port, "--cluster", &home.cluster]);
    let exports = home.done(&["env"]);
    let names =
        ["AWS_ENDPOINT_URL_ECS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "ECS_CLUSTER"];
    for name in names {
        assert!(exports.contains(&format!("export {name}=")), "{name} in {exports}");
    }
    assert!(exports.contains(&format!("http://127.0.0.1:{}", home.port)), "{exports}");
    for entry in fs::read_dir(home.data_dir()).expect("the data directory exists") {
        let path = entry.expect("the directory can be read").path();
        let holds_secrets = ["keys.json", "context.json"].iter().any(|name| path.ends_with(name));
        let mode = fs::metadata(&path).expect("the file exists").permissions().mode() & 0o777;
        assert!(!holds_secrets || mode == 0o600, "{}: {mode:o}", path.display());
    }
}

#[tokio::test]
async fn two_on_one_machine_leave_each_other_alone() {
    let engine = Engine::connect().await;
    let (one, two) = (Home::new(), Home::new());
    one.up();
    two.up();
    for home in [&one, &two] {
        let file = home.dir.path().join("web.json");
        fs::write(&file, task("web", &[web()]).to_string()).expect("the directory is writable");
        home.done(&["td", "register", &file.display().to_string()]);
        home.done(&["service", "create", "--task-definition", "web", "--count", "2", "--wait"]);
    }
    let kept = engine.list(&[of_cluster(&two.cluster)]).await;
    one.done(&["down", "--purge"]);
    assert_eq!(engine.list(&[of_cluster(&one.cluster)]).await, []);
    assert_eq!(engine.list(&[of_cluster(&two.cluster)]).await, kept);
    assert!(two.json(&["service", "describe", "web"]).to_string().contains("\"runningCount\":2"));
}
