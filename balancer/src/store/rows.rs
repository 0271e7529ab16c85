//! The tables: one for each kind of resource, by ARN.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Arn, State};

type Table = TableDefinition<'static, &'static str, &'static [u8]>;
type Resources<T> = BTreeMap<Arn, Arc<T>>;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const FORMAT_KEY: &str = "format";
/// What the rows look like.
pub(super) const FORMAT: u64 = 1;

const LOAD_BALANCERS: Table = TableDefinition::new("load_balancers");
const LISTENERS: Table = TableDefinition::new("listeners");
const TARGET_GROUPS: Table = TableDefinition::new("target_groups");

/// Why what is there cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Store(#[from] redb::Error),
    #[error("the row of {arn} makes no sense: {problem}")]
    Row { arn: String, problem: String },
}

/// Writes the rows that differ.
pub(super) fn write(write: &WriteTransaction, old: &State, new: &State) -> Result<(), redb::Error> {
    write_table(write, LOAD_BALANCERS, &old.load_balancers, &new.load_balancers)?;
    write_table(write, LISTENERS, &old.listeners, &new.listeners)?;
    write_table(write, TARGET_GROUPS, &old.target_groups, &new.target_groups)
}

/// Empties all tables.
pub(super) fn clear(write: &WriteTransaction) -> Result<(), redb::Error> {
    for table in [LOAD_BALANCERS, LISTENERS, TARGET_GROUPS] {
        write.open_table(table)?.retain(|_, _| false)?;
    }
    Ok(())
}

/// All rows.
pub(super) fn read(database: &Database) -> Result<State, Unreadable> {
    Ok(State {
        load_balancers: read_table(database, LOAD_BALANCERS)?,
        listeners: read_table(database, LISTENERS)?,
        target_groups: read_table(database, TARGET_GROUPS)?,
    })
}

fn write_table<T: Serialize>(
    write: &WriteTransaction,
    table: Table,
    old: &Resources<T>,
    new: &Resources<T>,
) -> Result<(), redb::Error> {
    let mut table = write.open_table(table)?;
    for arn in old.keys().filter(|arn| !new.contains_key(*arn)) {
        table.remove(&**arn)?;
    }
    for (arn, resource) in new {
        // A change replaces what it changes, so whatever is still the same value is the same row.
        if !old.get(arn).is_some_and(|before| Arc::ptr_eq(before, resource)) {
            let row = serde_json::to_vec(resource).expect("the model has a form in JSON");
            table.insert(&**arn, row.as_slice())?;
        }
    }
    Ok(())
}

fn read_table<T: DeserializeOwned>(database: &Database, table: Table) -> Result<Resources<T>, Unreadable> {
    let store = |error: redb::StorageError| Unreadable::Store(error.into());
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let table = transaction.open_table(table).map_err(redb::Error::from)?;
    let mut resources = BTreeMap::new();
    for row in table.iter().map_err(store)? {
        let (arn, row) = row.map_err(store)?;
        let resource: T = serde_json::from_slice(row.value())
            .map_err(|error| Unreadable::Row { arn: arn.value().to_owned(), problem: error.to_string() })?;
        resources.insert(Arn::from(arn.value()), Arc::new(resource));
    }
    Ok(resources)
}
