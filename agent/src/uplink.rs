//! The way to the scheduler as a seam: the calls that the agent makes and the line on which orders come.
//!
//! [`crate::channel`] has the real one, signed HTTP and a WebSocket. The simulation's loses, delays and repeats what is
//! said, while everything on the agent's side of the seam is the agent itself.

use std::future::Future;

use crate::engine::TaskReport;

/// The scheduler, as far as it can be reached. Trying again is the agent's business, not the uplink's.
pub trait Uplink: Clone + Send + Sync + 'static {
    /// See [`Line`].
    type Line: Line;

    /// Registers the instance, under its `earlier` ARN if it had one, and answers its ARN.
    fn register(&self, earlier: Option<&str>) -> impl Future<Output = Result<String, ApiFailure>> + Send;

    /// Creates the cluster that an agent joins which was told of none.
    fn create_cluster(&self, name: &str) -> impl Future<Output = Result<(), ApiFailure>> + Send;

    /// Tells what became of a task.
    fn submit(&self, report: TaskReport) -> impl Future<Output = Submitted> + Send;

    /// Opens the line on which orders come.
    fn open(&self, hello: Hello<'_>) -> impl Future<Output = Result<Self::Line, Unopened>> + Send;

    /// Whether orders come from elsewhere by now than from the `place` that a line leads to. False if nobody can tell.
    fn has_moved(&self, container_instance: &str, place: &str) -> impl Future<Output = bool> + Send {
        let _ = (container_instance, place);
        std::future::ready(false)
    }
}

/// One connection: text in order, both ways, until it ends.
pub trait Line: Send {
    /// What comes next. Cancel safe. The error says why the line is lost.
    fn receive(&mut self) -> impl Future<Output = Result<Received, String>> + Send;

    /// Says something. The error says why the line is lost.
    fn send(&mut self, text: String) -> impl Future<Output = Result<(), String>> + Send;

    /// Where it leads to, for [`Uplink::has_moved`].
    fn place(&self) -> String {
        String::new()
    }

    /// Ends the line in good order.
    fn close(&mut self, reason: &'static str) -> impl Future<Output = ()> + Send;
}

/// Who opens a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The instance's ARN.
    pub container_instance: &'a str,
    /// Whether the scheduler shall send the credentials of all tasks.
    pub send_credentials: bool,
}

/// Something that came down a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Text(String),
    /// A sign of life that asks for nothing: our schedulers give one about every second.
    Pulse,
    /// Any other sign of life.
    Life,
    /// The scheduler ended the line.
    Close,
}

/// Why a line could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// The scheduler does not know the instance: register anew.
    Inactive(String),
    /// Anything else: try again.
    Lost(String),
}

/// Why a call failed, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiFailure {
    /// The cluster does not exist.
    #[error("the cluster does not exist: {0}")]
    NoCluster(String),
    /// The scheduler will not take this request, however often it is made.
    #[error("refused: {0}")]
    Refused(String),
    /// Anything else: try again.
    #[error("{0}")]
    Passing(String),
}

/// What became of one attempt to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// The scheduler has it.
    Acknowledged,
    /// The scheduler does not want it, ever.
    Refused(String),
    /// Try again; why.
    Failed(String),
}
