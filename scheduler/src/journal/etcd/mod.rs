//! The journal on etcd, which several schedulers share: one leads and appends, the others follow.
//!
//! etcd is the consensus; none of it is ours. [`log`] says how an append is one transaction that compares the leader's
//! fence, [`reign`] for how long a leader may speak, [`layout`] what is kept under which key.
//!
//! Invariants, beyond those of every journal:
//! - What was appended and is not known to have happened is never replaced: the reign ends instead, and the next
//!   leader goes on from what did happen. A standby may have shown it already.
//! - Nothing is written by one who does not lead, whatever it believes.

pub(crate) mod client;
pub(crate) mod layout;
mod location;
pub(crate) mod log;
pub(crate) mod reign;
mod tail;
mod watch;
pub(crate) mod wire;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use self::client::Error as ClientError;
pub use self::location::Location;
use self::log::Log;
use self::reign::Reign;
pub(crate) use self::tail::Tail;
use super::{Error, Journal, Loaded, Visitor};

/// The log in the hands of its leader.
#[derive(Debug)]
pub(crate) struct EtcdJournal {
    log: Arc<Log>,
    reign: Arc<Reign>,
    /// Where the client lives: the calls of a journal block.
    runtime: Handle,
}

impl EtcdJournal {
    /// To be called on the runtime.
    pub(crate) fn new(log: Arc<Log>, reign: Arc<Reign>) -> Self {
        Self { log, reign, runtime: Handle::current() }
    }

    fn admit(&self, epoch: u64) -> Result<(), Error> {
        if epoch == self.reign.term() {
            return Ok(());
        }
        Err(Error::Superseded { held: epoch, current: self.reign.term() })
    }
}

impl Journal for EtcdJournal {
    /// The epoch began when the reign did.
    fn load(&mut self, visit: &mut Visitor<'_>) -> Result<Loaded, Error> {
        let (next_index, _) = self.runtime.block_on(self.log.load(visit))?;
        Ok(Loaded { epoch: self.reign.term(), next_index })
    }

    fn append(&mut self, epoch: u64, first_index: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        self.admit(epoch)?;
        self.runtime.block_on(self.log.append(&self.reign, first_index, records))
    }

    fn snapshot_chunk(&mut self, epoch: u64, through: u64, number: u64, bytes: &[u8]) -> Result<(), Error> {
        self.admit(epoch)?;
        self.runtime.block_on(self.log.put_chunk(&self.reign, through, number, bytes))
    }

    fn snapshot_end(&mut self, epoch: u64, through: u64, chunks: u64) -> Result<(), Error> {
        self.admit(epoch)?;
        self.runtime.block_on(self.log.end_snapshot(&self.reign, through, chunks))
    }
}
