//! What the keys are called, and how records become values.
//!
//! ```text
//! PREFIX/leader                        who leads. Its create revision is the fence
//! PREFIX/beat                          written again and again by who leads: its sign of life
//! PREFIX/term                          how many leaders there were
//! PREFIX/head                          the index of the next record: what is before it happened, nothing else did
//! PREFIX/log/<first index>/<piece>     the records of one append, cut into pieces that etcd takes
//! PREFIX/snapshot                      which snapshot counts
//! PREFIX/snap/<through>/<number>       the chunks of a snapshot
//! PREFIX/keys                          the access keys
//! ```
//!
//! Numbers in keys are hexadecimal of a fixed width, so that the order of keys is the order of numbers. An append is
//! one value after the other: its length, then each record behind its own length. Cutting that into pieces takes no
//! heed of where records begin, so a record may be larger than what etcd takes at once.

use serde::{Deserialize, Serialize};

/// Most bytes of one piece. etcd takes requests of 1.5 MiB, keys and everything included.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// The names of all keys under one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

/// Which snapshot counts: the value of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub through: u64,
    pub chunks: u64,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn leader(&self) -> String {
        format!("{}/leader", self.prefix)
    }

    pub(crate) fn beat(&self) -> String {
        format!("{}/beat", self.prefix)
    }

    pub(crate) fn term(&self) -> String {
        format!("{}/term", self.prefix)
    }

    pub(crate) fn head(&self) -> String {
        format!("{}/head", self.prefix)
    }

    pub(crate) fn snapshot(&self) -> String {
        format!("{}/snapshot", self.prefix)
    }

    pub(crate) fn keys(&self) -> String {
        format!("{}/keys", self.prefix)
    }

    /// Every key of ours, from here to before [`Names::end`].
    pub(crate) fn start(&self) -> String {
        format!("{}/", self.prefix)
    }

    pub(crate) fn end(&self) -> String {
        after_all(&self.start())
    }

    pub(crate) fn log(&self) -> String {
        format!("{}/log/", self.prefix)
    }

    pub(crate) fn log_end(&self) -> String {
        after_all(&self.log())
    }

    /// Where the append that begins at this index lies, from here on.
    pub(crate) fn append(&self, first_index: u64) -> String {
        format!("{}/log/{first_index:016x}/", self.prefix)
    }

    pub(crate) fn piece(&self, first_index: u64, piece: usize) -> String {
        format!("{}{piece:08x}", self.append(first_index))
    }

    /// The first index and the number of the piece that a key of the log names.
    pub(crate) fn read_piece(&self, key: &[u8]) -> Option<(u64, usize)> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.log())?;
        let (first, piece) = rest.split_once('/')?;
        Some((u64::from_str_radix(first, 16).ok()?, usize::from_str_radix(piece, 16).ok()?))
    }

    pub(crate) fn snap(&self) -> String {
        format!("{}/snap/", self.prefix)
    }

    pub(crate) fn snap_end(&self) -> String {
        after_all(&self.snap())
    }

    /// Where the chunks of a snapshot lie, from here to before [`Names::chunks_end`].
    pub(crate) fn chunks(&self, through: u64) -> String {
        format!("{}/snap/{through:016x}/", self.prefix)
    }

    pub(crate) fn chunks_end(&self, through: u64) -> String {
        after_all(&self.chunks(through))
    }

    pub(crate) fn chunk(&self, through: u64, number: u64) -> String {
        format!("{}{number:08x}", self.chunks(through))
    }
}

/// The first key after all that begin with `prefix`, which ends in a slash.
fn after_all(prefix: &str) -> String {
    let stem = prefix.strip_suffix('/').expect("prefixes end in a slash");
    // The character after the slash.
    format!("{stem}0")
}

/// The first key after `key`.
pub(crate) fn after(key: &str) -> String {
    format!("{key}\0")
}

/// The records of one append as the values to be written, at least one.
pub(crate) fn pack(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let length: usize = records.iter().map(|record| record.len() + size_of::<u32>()).sum();
    let mut stream = Vec::with_capacity(length + size_of::<u64>());
    stream.extend(u64::try_from(length).expect("what is in memory has a length").to_le_bytes());
    for record in records {
        let length = u32::try_from(record.len()).expect("no record has 4 GiB");
        stream.extend(length.to_le_bytes());
        stream.extend(record);
    }
    stream.chunks(PIECE_BYTES_MAX).map(<[u8]>::to_vec).collect()
}

/// The records of one append, out of its pieces put together; `None` unless these are all of it.
pub(crate) fn unpack(stream: &[u8]) -> Option<Vec<&[u8]>> {
    let (length, mut rest) = stream.split_first_chunk()?;
    if usize::try_from(u64::from_le_bytes(*length)).ok()? != rest.len() {
        return None;
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let (record, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        records.push(record);
        rest = after;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        let names = Names::new("a/b");
        let mut keys = vec![
            names.end(),
            names.log_end(),
            names.piece(300, 0),
            names.piece(20, 11),
            names.piece(20, 2),
            names.log(),
            names.start(),
        ];
        keys.sort();
        let expected = [
            names.start(),
            names.log(),
            names.piece(20, 2),
            names.piece(20, 11),
            names.piece(300, 0),
            names.log_end(),
            names.end(),
        ];
        assert_eq!(keys, expected);
        assert_eq!(names.read_piece(names.piece(300, 17).as_bytes()), Some((300, 17)));
        assert_eq!(names.read_piece(names.head().as_bytes()), None);
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let records = [b"one".to_vec(), Vec::new(), vec![7; 3 * PIECE_BYTES_MAX]];
        let pieces = pack(&records);
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
        let whole = pieces.concat();
        assert_eq!(unpack(&whole).unwrap(), records.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(unpack(&pieces[..3].concat()), None);
        assert_eq!(unpack(&[&whole[..], b"more"].concat()), None);
    }
}
