//! From an operation's name and body to the command that is decided.

use ecsr_api::ApiError;
use ecsr_api::ecs::{self, Operation};

use super::Command;

/// The command of a writing operation; `None` for one that only reads, or that is not served.
///
/// An operation that a newer model adds is not served until it is written here, which is why the rest is not listed.
pub fn parse(operation: Operation, body: &[u8]) -> Option<Result<Command, ApiError>> {
    macro_rules! commands {
        ($($operation:ident)+) => {
            match operation {
                $(Operation::$operation => {
                    Some(ecs::read_request(body).map(|request| Command::$operation(Box::new(request))))
                })+
                _ => None,
            }
        };
    }
    commands! {
        CreateCluster UpdateCluster UpdateClusterSettings DeleteCluster
        RegisterTaskDefinition DeregisterTaskDefinition DeleteTaskDefinitions
        RunTask StartTask StopTask
        CreateService UpdateService DeleteService
        RegisterContainerInstance DeregisterContainerInstance UpdateContainerInstancesState
        SubmitTaskStateChange SubmitContainerStateChange
        TagResource UntagResource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_commands() {
        let named = parse(Operation::CreateCluster, br#"{"clusterName":"web"}"#);
        let request = ecs::CreateClusterRequest { cluster_name: Some("web".into()), ..Default::default() };
        assert_eq!(named, Some(Ok(Command::CreateCluster(Box::new(request)))));
        assert!(matches!(parse(Operation::RunTask, br#"{"count":"two"}"#), Some(Err(_))));
        assert_eq!(parse(Operation::DescribeClusters, b"{}"), None);
        assert_eq!(parse(Operation::CreateDaemon, b"{}"), None);
    }
}
