//! What the agent says of itself in the URL of its connection.
//!
//! ACS and TCS name the same things differently, so each has its own type; both read and write the raw query.

use crate::query;

/// The parameters of `<endpoint>/ws?…` for ACS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect {
    pub agent_hash: String,
    pub agent_version: String,
    /// Whatever the agent was configured with: a name as often as an ARN.
    pub cluster: String,
    pub container_instance_arn: String,
    /// Amazon's agent writes `DockerVersion: ` before the number.
    pub docker_version: String,
    pub protocol_version: i64,
    /// Send the credentials of all tasks now: set until the agent's first connection succeeded.
    pub send_credentials: bool,
    pub seq_num: i64,
}

impl Connect {
    /// The parameters in a raw query; `None` if it is too long. What is missing or unreadable is empty or 0.
    pub fn from_query(raw: &str) -> Option<Self> {
        let mut connect = Connect::default();
        for (name, value) in query::parse_text(raw)? {
            match name.as_str() {
                "agentHash" => connect.agent_hash = value,
                "agentVersion" => connect.agent_version = value,
                "clusterArn" => connect.cluster = value,
                "containerInstanceArn" => connect.container_instance_arn = value,
                "dockerVersion" => connect.docker_version = value,
                "protocolVersion" => connect.protocol_version = value.parse().unwrap_or_default(),
                "sendCredentials" => connect.send_credentials = value == "true",
                "seqNum" => connect.seq_num = value.parse().unwrap_or_default(),
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
            ("clusterArn", &self.cluster),
            ("containerInstanceArn", &self.container_instance_arn),
            ("dockerVersion", &self.docker_version),
            ("protocolVersion", &self.protocol_version.to_string()),
            ("sendCredentials", if self.send_credentials { "true" } else { "false" }),
            ("seqNum", &self.seq_num.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_amazons_agent_are_read() {
        let raw = "agentHash=8dfceca&agentVersion=1.105.1&clusterArn=default&containerInstanceArn=arn%3Aaws%3Aecs\
                   &dockerVersion=DockerVersion%3A+20.10.24&protocolVersion=2&sendCredentials=true&seqNum=1";
        let connect = Connect::from_query(raw).unwrap();
        assert_eq!(connect.docker_version, "DockerVersion: 20.10.24");
        assert_eq!((connect.protocol_version, connect.send_credentials, connect.seq_num), (2, true, 1));
        assert_eq!(connect.to_query(), raw.replace('+', "%20"));
        assert_eq!(Connect::from_query(&connect.to_query()).unwrap(), connect);
    }
}
