//! A scheduler by itself: a process, its data directory, and no engine.

use std::fs;
use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use ecsr_tests::sign::Signer;
use ecsr_tests::world::{REGION, base_environment, create_key, free_port};
use ecsr_tests::{Api, Process, process, wait};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// The cluster that is there from the start.
pub const CLUSTER: &str = "default";

/// Dropping it kills the process and removes what lies in its own directory.
#[derive(Debug)]
pub struct Local {
    pub api: Api,
    pub data_dir: PathBuf,
    process: Option<Process>,
    dir: TempDir,
}

impl Local {
    /// A scheduler that has yet to be started, with a data directory of its own.
    pub fn prepare() -> Self {
        Self::prepare_in(|dir| dir.join("data"))
    }

    /// Like [`Local::prepare`], with the data directory that `choose` makes of the test's own directory.
    pub fn prepare_in(choose: impl FnOnce(&Path) -> PathBuf) -> Self {
        let dir =
            tempfile::Builder::new().prefix("ecsr-journal-").tempdir().expect("a directory can be made");
        let data_dir = choose(dir.path());
        fs::create_dir_all(&data_dir).expect("the data directory can be made");
        let credentials = create_key(&data_dir.display().to_string());
        Self::over(dir, data_dir, credentials)
    }

    /// A scheduler for a data directory that is there already, and a key of it.
    pub fn on(data_dir: &Path, credentials: Credentials) -> Self {
        let dir =
            tempfile::Builder::new().prefix("ecsr-journal-").tempdir().expect("a directory can be made");
        Self::over(dir, data_dir.to_owned(), credentials)
    }

    fn over(dir: TempDir, data_dir: PathBuf, credentials: Credentials) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let api = Api { address, region: REGION.to_owned(), credentials, cluster: CLUSTER.to_owned() };
        Self { api, data_dir, process: None, dir }
    }

    /// A directory that ends with the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the process and waits until it answers.
    pub async fn start(&mut self) {
        self.spawn();
        wait::until("the scheduler to answer", async || self.api.try_call("ListClusters", json!({})).await)
            .await;
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&mut self) -> &mut Process {
        let data_dir = self.data_dir.display().to_string();
        let args =
            ["scheduler", "--data-dir", &data_dir, "--listen", &self.api.address, "--cluster", CLUSTER];
        self.process.insert(Process::start("scheduler", self.dir.path(), &args, &base_environment()))
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits until it has ended.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end();
        }
    }

    /// `ecsr <args> --data-dir <its own>`
    pub fn ecsr(&self, args: &[&str]) -> std::process::Output {
        let data_dir = self.data_dir.display().to_string();
        process::run(&[args, &["--data-dir", &data_dir]].concat(), &base_environment())
    }

    /// Registers an instance with room for any number of small tasks; answers its ARN.
    pub async fn register_instance(&self) -> String {
        let integer =
            |name: &str, value: u32| json!({"name": name, "type": "INTEGER", "integerValue": value});
        let registration = json!({
            "totalResources": [integer("CPU", 1_000_000), integer("MEMORY", 1_000_000)],
            "attributes": [{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}],
        });
        let answer = self.api.call("RegisterContainerInstance", registration).await;
        answer["containerInstance"]["containerInstanceArn"].as_str().unwrap_or_default().to_owned()
    }

    /// Connects the instance's agent, which then listens and does nothing, until the scheduler is gone.
    pub async fn connect_agent(&self, instance: &str) {
        let signer = Signer::new(self.api.credentials.clone(), REGION);
        let query = format!(
            "agentHash=none&agentVersion=1.0.0&clusterArn={CLUSTER}&containerInstanceArn={}&protocolVersion=2",
            instance.replace(':', "%3A").replace('/', "%2F")
        );
        let address = &self.api.address;
        let request = format!("ws://{address}/acs/ws?{query}").into_client_request();
        let mut request = request.expect("the URL is well-formed");
        for (name, value) in signer.headers(("GET", "/acs/ws", &query), address, None, b"") {
            request.headers_mut().insert(name, value.parse().expect("header values are ASCII"));
        }
        let stream = TcpStream::connect(address).await.expect("the scheduler listens");
        let (socket, _) =
            client_async(request, stream).await.expect("the scheduler takes the agent's channel");
        tokio::spawn(async move {
            let (mut send, mut receive) = socket.split();
            while let Some(Ok(message)) = receive.next().await {
                if let Message::Ping(payload) = message
                    && send.send(Message::Pong(payload)).await.is_err()
                {
                    break;
                }
            }
        });
        wait::until("the agent to be connected", async || {
            let described =
                self.api.call("DescribeContainerInstances", json!({"containerInstances": [instance]})).await;
            if described["containerInstances"][0]["agentConnected"] == true { Ok(()) } else { Err(described) }
        })
        .await;
    }
}

/// Everything that a paginated operation lists under `member`.
pub async fn list_all(api: &Api, operation: &str, filter: Value, member: &str) -> Vec<String> {
    let (mut found, mut input) = (Vec::new(), filter);
    loop {
        let page = api.call(operation, input.clone()).await;
        let names = page[member].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(names.map(str::to_owned));
        match &page["nextToken"] {
            Value::Null => return found,
            token => input["nextToken"] = token.clone(),
        }
    }
}
