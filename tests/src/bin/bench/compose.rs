//! Compose with the same task: the tool for one machine that most would reach for.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ecsr_tests::Engine;
use ecsr_tests::engine::IMAGE;
use serde_json::json;
use tempfile::TempDir;

use crate::COUNT;
use crate::floor::{COMMAND, MEMORY_MIB, PORT};

/// The project, and so the label of its containers.
const PROJECT: &str = "ecsr-bench";

/// A compose that is installed, and a project for it. Dropping it takes the project down.
#[derive(Debug)]
pub struct Compose {
    dir: TempDir,
}

impl Compose {
    /// Looks for compose; or says that there is none.
    pub fn find() -> Result<Self, String> {
        let version = Command::new("docker-compose").arg("version").stdin(Stdio::null()).output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err(
                "compose not measured: docker-compose is not installed (Debian: docker-compose)".to_owned()
            );
        }
        let dir = tempfile::Builder::new().prefix("ecsr-bench-").tempdir().expect("a directory can be made");
        let project = json!({"version": "2.4", "services": {"web": {
            "image": IMAGE,
            "command": COMMAND,
            "mem_limit": format!("{MEMORY_MIB}m"),
            "ports": [PORT.to_string()],
        }}});
        // JSON is YAML.
        fs::write(dir.path().join("project.yml"), project.to_string()).expect("the directory was just made");
        Ok(Self { dir })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("project.yml")
    }

    fn run(&self, args: &[&str]) {
        let mut command = Command::new("docker-compose");
        command.args(["-p", PROJECT, "-f"]).arg(self.file()).args(args);
        let output = command.stdin(Stdio::null()).output().expect("compose was found");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker-compose {}: {said}", args.join(" "));
    }

    /// `docker-compose up -d --scale web=N`; answers how long the command took.
    pub async fn start_all(&self, engine: &Engine) -> Duration {
        // Its network is not what is compared: it stays from the first round on.
        let scale = format!("web={COUNT}");
        self.run(&["up", "--no-start", "--scale", "web=0"]);
        let began = Instant::now();
        self.run(&["up", "-d", "--scale", &scale]);
        let took = began.elapsed();
        let containers = engine.list(&[format!("com.docker.compose.project={PROJECT}")]).await;
        let running = containers.iter().filter(|one| one.state == "running").count();
        assert_eq!(running, COUNT, "what it started runs");
        self.run(&["kill"]);
        self.run(&["rm", "-f", "-v"]);
        took
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let mut command = Command::new("docker-compose");
        command.args(["-p", PROJECT, "-f"]).arg(self.file()).args(["down", "-t", "0"]);
        // Whatever is left is named by compose itself at its next use.
        let _ = command.stdin(Stdio::null()).output();
    }
}
