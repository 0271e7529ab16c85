//! What no longer counts in the tables, and goes a little at a time along with other writes.

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::{CHUNKS, META, Newest, RECORDS, newest};

/// Records and chunks that no longer count and are removed along with a write. More than a write ever adds, so that
/// they do get fewer; few enough that nobody waits for it.
const TRIM_MAX: usize = 64;

/// Removes some of what the newest snapshot has made superfluous: the records that it stands for, and the chunks of
/// other snapshots than it and the one being written. True if nothing of that is left.
pub(super) fn trim(
    transaction: &WriteTransaction,
    unfinished: Option<(u64, u64)>,
) -> Result<bool, redb::Error> {
    let newest = newest(&transaction.open_table(META)?)?;
    let Some(Newest { through, .. }) = newest else { return Ok(true) };
    let records = trim_records(&mut transaction.open_table(RECORDS)?, through)?;
    let chunks = trim_chunks(&mut transaction.open_table(CHUNKS)?, through, unfinished)?;
    Ok(records && chunks)
}

fn trim_records(records: &mut Table<'_, u64, &'static [u8]>, through: u64) -> Result<bool, redb::Error> {
    for _ in 0..TRIM_MAX {
        if records.first()?.is_none_or(|(first, _)| first.value() > through) {
            return Ok(true);
        }
        records.pop_first()?;
    }
    Ok(false)
}

fn trim_chunks(
    chunks: &mut Table<'_, (u64, u64), &'static [u8]>,
    through: u64,
    unfinished: Option<(u64, u64)>,
) -> Result<bool, redb::Error> {
    for _ in 0..TRIM_MAX {
        // Older ones come first; what follows the newest is being written, or was given up.
        let first = chunks.first()?.map(|(key, _)| key.value());
        let last = chunks.last()?.map(|(key, _)| key.value());
        let given_up = |key: &(u64, u64)| {
            key.0 != through && unfinished.is_none_or(|(unfinished, _)| key.0 != unfinished)
        };
        match first.filter(|key| key.0 < through).or(last.filter(given_up)) {
            Some(key) => drop(chunks.remove(key)?),
            None => return Ok(true),
        }
    }
    Ok(false)
}
