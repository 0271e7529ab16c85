//! Waiting until this machine is an ACTIVE instance with a connected agent. It is told from other machines of
//! the cluster by an attribute that its agent registers.

use std::time::{Duration, Instant};

use bollard::Docker;
use serde_json::{Value, json};

use crate::docker::agent::{HOST_ATTRIBUTE, Settings};
use crate::docker::container;
use crate::ecs::Operation;
use crate::error::{Failure, Kind};
use crate::output::note;
use crate::output::text::{list, short, text};
use crate::session::{INSTANCES, Session};

/// How long an agent may take to join: it registers and connects in well under a second on an idle machine.
const JOINS_WITHIN: Duration = Duration::from_mins(1);
/// How often to ask whether it has joined.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Questions between two looks at the agent's container.
const LOOK_AT_CONTAINER_EVERY: u32 = 20;

/// Waits for the agent of `settings` to join; answers its description.
pub(super) async fn await_active(
    session: &Session,
    engine: &Docker,
    settings: &Settings,
) -> Result<Value, Failure> {
    let began = Instant::now();
    for question in 1u32.. {
        if let Some(instance) = find(session, &settings.host_name).await? {
            if text(&instance, "status") == "DRAINING" {
                let id = short(&instance, "containerInstanceArn");
                note(&format!("the instance is DRAINING: `ecsr instance activate {id}` takes it back"));
            }
            return Ok(instance);
        }
        if question % LOOK_AT_CONTAINER_EVERY == 0
            && let Some(trouble) = container::trouble(engine, &settings.container_name()).await?
        {
            return Err(not_joined(engine, settings, &trouble).await);
        }
        if began.elapsed() >= JOINS_WITHIN {
            return Err(not_joined(engine, settings, "the agent did not join the cluster").await);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    unreachable!("the questions end with the time")
}

/// This machine's instance, once its agent is connected.
async fn find(session: &Session, host_name: &str) -> Result<Option<Value>, Failure> {
    let request = json!({"cluster": session.cluster()});
    let arns = session.list(Operation::ListContainerInstances, request, "containerInstanceArns").await?;
    let instances = session.describe_known(INSTANCES, session.cluster(), &arns).await?;
    Ok(instances.into_iter().find(|instance| is_joined(instance, host_name)))
}

fn is_joined(instance: &Value, host_name: &str) -> bool {
    let ours = |attribute: &Value| {
        text(attribute, "name") == HOST_ATTRIBUTE && text(attribute, "value") == host_name
    };
    let in_service = ["ACTIVE", "DRAINING"].contains(&text(instance, "status").as_str());
    in_service && instance["agentConnected"] == true && list(instance, "attributes").iter().any(ours)
}

async fn not_joined(engine: &Docker, settings: &Settings, what: &str) -> Failure {
    let lines = container::last_lines(engine, &settings.container_name()).await;
    let message = format!("{what}; it wrote:\n  {}", lines.trim_end().replace('\n', "\n  "));
    Failure::new(Kind::NotStable, message).hint(format!("docker logs {}", settings.container_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        fn check(status: &str, connected: bool, host: &str, expected: bool) {
            let instance = json!({
                "status": status,
                "agentConnected": connected,
                "attributes": [{"name": "ecs.os-type", "value": "linux"}, {"name": HOST_ATTRIBUTE, "value": host}],
            });
            assert_eq!(is_joined(&instance, "laptop"), expected, "{instance}");
        }
        check("ACTIVE", true, "laptop", true);
        check("DRAINING", true, "laptop", true);
        check("ACTIVE", false, "laptop", false);
        check("ACTIVE", true, "server", false);
        check("INACTIVE", true, "laptop", false);
    }
}
