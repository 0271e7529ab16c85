//! From the journal's bytes back to the state that was last acknowledged.
//!
//! Invariant: the state is exactly what the snapshot and the records say, or the scheduler does not start. A record
//! that cannot be read is never skipped, since the events after it were decided knowing it.

use std::sync::Arc;

use ecsr_api::Timestamp;
use ecsr_api::arn::Home;
use ecsr_core::State;

use crate::journal::record::{self, Founding, Record};
use crate::journal::{self, Journal, Loaded};

/// Why the state cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("the journal cannot be understood; nothing was changed")]
    Record(#[from] record::Error),
    #[error(
        "the data directory belongs to account {found_account} in {found_region}, not to account {account} in \
         {region}; start with those, or choose another data directory"
    )]
    OtherHome { found_account: String, found_region: String, account: String, region: String },
    #[error(
        "the journal has no founding record; nothing was changed. Restore it from a backup, or move it away"
    )]
    Unfounded,
}

/// What was recovered, and where the journal goes on.
#[derive(Debug)]
pub struct Recovered {
    pub state: Arc<State>,
    pub founding: Founding,
    pub epoch: u64,
    /// The index of the next record.
    pub next_index: u64,
    /// How many records there are after the snapshot.
    pub records: u64,
    /// The time of the newest record.
    pub latest: Timestamp,
}

/// Reads the journal back; an empty one is founded for `home`.
pub fn recover(journal: &mut dyn Journal, home: Home) -> Result<Recovered, Error> {
    let founding = Founding { account: home.account.clone(), region: home.region.clone() };
    let loaded = journal.load()?;
    if loaded.snapshot.is_none() && loaded.records.is_empty() {
        journal.append(loaded.epoch, 0, &[record::founding(&founding)])?;
        let state = Arc::new(State::new(home));
        return Ok(Recovered {
            state,
            founding,
            epoch: loaded.epoch,
            next_index: 1,
            records: 1,
            latest: Timestamp::default(),
        });
    }
    replay(loaded, home, founding)
}

fn replay(loaded: Loaded, home: Home, founding: Founding) -> Result<Recovered, Error> {
    let Loaded { epoch, snapshot, first_index, records } = loaded;
    let mut found = None;
    let mut latest = Timestamp::default();
    let mut state = match snapshot {
        Some(snapshot) => {
            let picture = record::read_picture(snapshot.through, &snapshot.bytes)?;
            found = Some(picture.founded);
            latest = picture.at;
            picture.state.restore(home)
        }
        None => State::new(home),
    };
    let count = u64::try_from(records.len()).expect("a list is shorter than 2^64");
    for (index, bytes) in (first_index..).zip(records) {
        match record::read(index, &bytes)? {
            Record::Founded(founded) => found = Some(founded),
            Record::Happened { at, events } => {
                latest = latest.max(at);
                for event in &events {
                    state.apply(event);
                }
            }
        }
    }
    check_founding(found, &founding)?;
    let state = Arc::new(state);
    Ok(Recovered { state, founding, epoch, next_index: first_index + count, records: count, latest })
}

fn check_founding(found: Option<Founding>, wanted: &Founding) -> Result<(), Error> {
    let found = found.ok_or(Error::Unfounded)?;
    if found == *wanted {
        return Ok(());
    }
    Err(Error::OtherHome {
        found_account: found.account,
        found_region: found.region,
        account: wanted.account.clone(),
        region: wanted.region.clone(),
    })
}
