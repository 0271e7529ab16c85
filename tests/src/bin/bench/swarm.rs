//! Docker's own orchestrator with the same task: swarm mode on this engine, for the time of the run.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ecsr_tests::engine::IMAGE;
use ecsr_tests::{Engine, wait};

use crate::COUNT;
use crate::floor::{COMMAND, MEMORY_MIB, PORT};

const NAME: &str = "ecsr-bench-web";
/// What swarm puts on the containers of a service.
const LABEL: &str = "com.docker.swarm.service.name";

/// Swarm mode, entered for this run. Dropping it leaves it.
#[derive(Debug)]
pub struct Swarm(());

impl Swarm {
    /// Enters swarm mode; or says why that cannot be done.
    pub fn join() -> Result<Self, String> {
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])?;
        if state != "inactive" {
            return Err(format!(
                "swarm not measured: this engine's swarm mode is {state}, and is left alone"
            ));
        }
        docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"])?;
        Ok(Self(()))
    }

    /// `docker service create --replicas N`; answers how long it took until the engine had all of them running.
    ///
    /// The command's own waiting is not used: it goes on for five more seconds to see whether the tasks stay.
    pub async fn start_all(&self, engine: &Engine) -> Duration {
        let (replicas, memory) = (COUNT.to_string(), format!("{MEMORY_MIB}m"));
        let publish = format!("mode=host,target={PORT}");
        let settings = ["--detach", "--no-resolve-image", "--name", NAME, "--replicas", &replicas];
        let limits = ["--publish", &publish, "--limit-memory", &memory, "--stop-grace-period", "1s"];
        let args = [&["service", "create"], &settings[..], &limits[..], &[IMAGE], &COMMAND[..]].concat();
        let began = Instant::now();
        docker(&args).expect("swarm takes the service");
        while running(engine).await < COUNT {
            assert!(began.elapsed() < wait::PATIENCE, "swarm starts its tasks");
        }
        let took = began.elapsed();
        docker(&["service", "rm", NAME]).expect("swarm removes the service");
        wait::until("swarm's containers to be gone", async || {
            let left = engine.list(&[format!("{LABEL}={NAME}")]).await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        took
    }
}

async fn running(engine: &Engine) -> usize {
    let containers = engine.list(&[format!("{LABEL}={NAME}")]).await;
    containers.iter().filter(|one| one.state == "running").count()
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if let Err(why) = docker(&["swarm", "leave", "--force"]) {
            eprintln!("{why}");
        }
    }
}

/// Runs the docker command; answers what it printed, or says what went wrong.
fn docker(args: &[&str]) -> Result<String, String> {
    let told = |text: &[u8]| String::from_utf8_lossy(text).trim().to_owned();
    let failed = |why: String| format!("docker {}: {why}", args.join(" "));
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(told(&stdout)) } else { Err(failed(told(&stderr))) }
}
