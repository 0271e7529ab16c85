//! Agents have a lane of their own: threads that serve their connections and nobody else's.
//!
//! Thousands of agents that report at once are thousands of connections that are ready at once. On the same threads a
//! client's question would stand behind all of them; beside them it stands behind other clients' only, and the kernel
//! shares the processors between the lanes.
//!
//! A connection shows in its first request whose it is, and stays in that lane: SDKs keep one pool of connections for one
//! caller. Whoever pretends gains nothing but the company of agents.

use std::io;

use ecsr_api::ecs::{self, Operation};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};

use super::api::TARGET_HEADER;
use crate::agents::{ACS_ROUTE, TCS_ROUTE};

/// Threads of the agents' lane: as many as the other has.
const THREADS: usize = 2;

/// By how much they stand back: about a third of a processor is theirs against one busy thread of another lane.
const NICENESS: i32 = 5;

/// How much of the first request is looked at: as a rule all of its headers, a session token among them.
const LOOK_BYTES: usize = 4096;

/// Headers that fit into it.
const LOOK_HEADERS: usize = 64;

/// The threads of the agents' lane, until this is dropped.
#[derive(Debug)]
pub(crate) struct AgentsLane {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl AgentsLane {
    pub(crate) fn open() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("agents").enable_all();
        let runtime = builder.on_thread_start(stand_back).build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime.as_ref().expect("the lane is open until it is dropped").handle().clone()
    }
}

impl Drop for AgentsLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Whoever closes the lane has waited for what was under way.
            runtime.shutdown_background();
        }
    }
}

/// Lets the threads that answer clients go first when there are not processors for all.
fn stand_back() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "clients may wait for agents: the system does not let threads stand back");
    }
}

/// Has an agent's connection served in the agents' lane.
pub(super) async fn serve<F>(
    agents: &Handle,
    stream: TcpStream,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    // The events of a socket come to the lane that it was registered in.
    let stream = stream.into_std()?;
    let served = agents.spawn(async move {
        serve(TcpStream::from_std(stream)?).await;
        Ok(())
    });
    // A lane that was closed took the connection along.
    served.await.unwrap_or(Ok(()))
}

/// Whether an agent is at the other end, once its first words are there.
pub(super) async fn is_agents(stream: &TcpStream) -> io::Result<bool> {
    let mut head = vec![0; LOOK_BYTES];
    let length = stream.peek(&mut head).await?;
    Ok(is_of_an_agent(&head[..length]))
}

/// Whether a request that begins so is one that only agents make. What they share with clients tells nothing.
fn is_of_an_agent(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; LOOK_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    // What is cut off, or wrong, is as good as what could be read of it.
    let _ = request.parse(head);
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    if path == ACS_ROUTE || path == TCS_ROUTE {
        return true;
    }
    let target = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(TARGET_HEADER));
    let target = target.and_then(|header| str::from_utf8(header.value).ok());
    matches!(
        target.map(ecs::operation_of_target),
        Some(Ok(Operation::DiscoverPollEndpoint
            | Operation::RegisterContainerInstance
            | Operation::SubmitAttachmentStateChanges
            | Operation::SubmitContainerStateChange
            | Operation::SubmitTaskStateChange))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_what_only_they_ask() {
        let call = |operation: &str| {
            format!(
                "POST / HTTP/1.1\r\nhost: ecs\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.{operation}\r\n"
            )
        };
        let of_an_agent = |head: &str| is_of_an_agent(head.as_bytes());
        for agents in ["SubmitTaskStateChange", "RegisterContainerInstance", "DiscoverPollEndpoint"] {
            assert!(
                of_an_agent(&call(agents)),
                "{agents}: the rest of the headers may still be on their way"
            );
        }
        assert!(of_an_agent("GET /acs/ws?clusterArn=default HTTP/1.1\r\nhost: ecs\r\n\r\n"));
        assert!(of_an_agent("GET /tcs/ws HTTP/1.1\r\n\r\n"));
        for clients in
            [&call("DescribeTasks"), &call("Fly"), "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}", ""]
        {
            assert!(!of_an_agent(clients), "{clients:?}");
        }
    }
}
