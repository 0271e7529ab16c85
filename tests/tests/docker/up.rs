//! `ecsr up` and `ecsr down` on this machine's engine: the whole of it in two commands, as often as one likes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use ecsr_tests::engine::of_cluster;
use ecsr_tests::spec::{backend, task, web};
use ecsr_tests::world::free_port;
use ecsr_tests::{Engine, load, process, wait};
use rustix::process::{Pid, Signal, kill_process};
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

    /// The name of the load balancer's container, whose API is two ports above the scheduler's.
    fn balancer(&self) -> String {
        let port: u16 = self.port.parse().expect("a port is a number");
        format!("ecsr-balancer-{}", port + 2)
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
async fn the_load_balancer_comes_back_by_itself_and_goes_when_it_is_not_wanted() {
    let engine = Engine::connect().await;
    let home = Home::new();
    home.up();
    let file = home.dir.path().join("web.json");
    fs::write(&file, backend("web", "1").to_string()).expect("the directory is writable");
    home.done(&["td", "register", &file.display().to_string()]);
    let port = free_port();
    let expose = format!("{port}:8080");
    let url = home.done(&["service", "create", "-t", "web", "--count", "2", "--expose", &expose, "--wait"]);
    assert!(url.contains(&format!("http://localhost:{port}/")), "{url}");
    let address = format!("127.0.0.1:{port}");
    wait::until("the service to answer", async || load::get(&address, "/").await).await;

    let process = engine.inspect(&home.balancer()).await["State"]["Pid"].as_i64().unwrap_or_default();
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(process, Signal::KILL).expect("it is ours to kill");
    wait::until("the service to answer again", async || load::get(&address, "/").await).await;
    let restarts = &engine.inspect(&home.balancer()).await["RestartCount"];
    assert_eq!(restarts, 1, "the engine started it again");

    home.done(&["service", "delete", "web", "--force"]);
    home.done(&["down"]);
    assert_eq!(engine.inspect(&home.balancer()).await, Value::Null);
    home.up();
    assert!(home.done(&["lb", "list"]).contains(&format!("ecsr-{}", home.cluster)), "what it knew is kept");
    assert!(home.done(&["env"]).contains("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2="));
    home.done(&["down"]);
    home.done(&["up", "--detach", "--no-balancer"]);
    assert_eq!(engine.inspect(&home.balancer()).await, Value::Null);
    assert!(!home.done(&["env"]).contains("ELASTIC_LOAD_BALANCING"));
    assert_eq!(home.run(&["lb", "list"]).status.code(), Some(3), "there is none");
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
