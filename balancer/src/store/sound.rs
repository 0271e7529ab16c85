//! Whether a file is a whole and sensible store, told from a copy in memory: redb writes to a file as soon as it is
//! opened, and what is about to be refused must stay as it is.

use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, TableError};

use super::Error;
use super::rows::{self, FORMAT, FORMAT_KEY, META};
use crate::model::{Action, Arn, State};

/// What a file of these bytes holds.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<State, Error> {
    let damaged = |problem: String| Error::Damaged { path: path.to_owned(), problem };
    if bytes.is_empty() {
        return Err(damaged("it is empty".to_owned()));
    }
    let database = in_memory(bytes).map_err(|error| damaged(error.to_string()))?;
    match format(&database).map_err(|error| damaged(error.to_string()))? {
        Some(FORMAT) => {}
        Some(format) => return Err(Error::Newer { path: path.to_owned(), format }),
        None => return Err(damaged("it is the database of another program".to_owned())),
    }
    let state = rows::read(&database).map_err(|error| damaged(error.to_string()))?;
    match contradiction(&state) {
        Some(problem) => Err(damaged(problem)),
        None => Ok(state),
    }
}

fn in_memory(bytes: &[u8]) -> Result<Database, DatabaseError> {
    let copy = InMemoryBackend::new();
    let length = u64::try_from(bytes.len()).expect("a file is shorter than 2^64");
    copy.set_len(length)
        .and_then(|()| copy.write(0, bytes))
        .map_err(|error| DatabaseError::Storage(error.into()))?;
    Database::builder().set_check_integrity_on_open(true).create_with_backend(copy)
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the API never makes: a row under another's name, or one that refers to nothing.
fn contradiction(state: &State) -> Option<String> {
    let named = |key: &Arn, arn: &Arn| (key != arn).then(|| format!("the row of {key} is that of {arn}"));
    let balancers = state.load_balancers.iter().find_map(|(key, found)| named(key, &found.arn));
    let groups = state.target_groups.iter().find_map(|(key, found)| named(key, &found.arn));
    let listeners = state.listeners.iter().find_map(|(key, found)| {
        let missing = |arn: &Arn| format!("{key} refers to {arn}, which is not there");
        let balancer = &found.load_balancer;
        named(key, &found.arn)
            .or_else(|| (!state.load_balancers.contains_key(balancer)).then(|| missing(balancer)))
            .or_else(|| {
                let mut groups = found.actions().flat_map(Action::groups);
                groups.find(|group| !state.target_groups.contains_key(*group)).map(missing)
            })
    });
    balancers.or(groups).or(listeners)
}
