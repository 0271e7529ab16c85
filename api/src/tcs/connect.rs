//! What the agent says of itself in the URL of its telemetry connection.

use crate::query;

/// The parameters of `<telemetryEndpoint>/ws?…` for TCS; the names differ from those of ACS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect {
    pub agent_hash: String,
    pub agent_version: String,
    /// Whatever the agent was configured with: a name as often as an ARN.
    pub cluster: String,
    /// The instance's ARN.
    pub container_instance: String,
    /// The bare number, unlike in ACS.
    pub docker_version: String,
}

impl Connect {
    /// The parameters in a raw query; `None` if it is too long. What is missing is empty.
    pub fn from_query(raw: &str) -> Option<Self> {
        let mut connect = Connect::default();
        for (name, value) in query::parse_text(raw)? {
            match name.as_str() {
                "agentHash" => connect.agent_hash = value,
                "agentVersion" => connect.agent_version = value,
                "cluster" => connect.cluster = value,
                "containerInstance" => connect.container_instance = value,
                "dockerVersion" => connect.docker_version = value,
                _ => {}
            }
        }
        Some(connect)
    }

    /// The raw query, with sorted names.
    pub fn to_query(&self) -> String {
        query::encode(&[
            ("agentHash", &self.agent_hash),
            ("agentVersion", &self.agent_version),
            ("cluster", &self.cluster),
            ("containerInstance", &self.container_instance),
            ("dockerVersion", &self.docker_version),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_written() {
        let connect = Connect {
            agent_hash: "8dfceca".to_owned(),
            agent_version: "1.105.1".to_owned(),
            cluster: "default".to_owned(),
            container_instance: "arn:aws:ecs:us-east-1:123456789012:container-instance/default/0123"
                .to_owned(),
            docker_version: "20.10.24".to_owned(),
        };
        assert_eq!(Connect::from_query(&connect.to_query()).unwrap(), connect);
    }
}
