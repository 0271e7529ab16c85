//! From pieces, in whatever portions they come, back to numbered records.
//!
//! Pieces wait here until a head says that they happened. Those of an append that never happened are replaced by the
//! append that took its place, or lie beyond every head.

use std::collections::BTreeMap;

use super::layout;

/// Records are missing, or are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gap {
    #[error("record {0} is missing")]
    Missing(u64),
    #[error("the records from {0} on cannot be taken apart")]
    Broken(u64),
}

/// The end of the log as it comes in.
#[derive(Debug)]
pub(crate) struct Tail {
    next: u64,
    /// Pieces put together, by the first index of their append.
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl Tail {
    /// A tail that begins with that record.
    pub(crate) fn new(next: u64) -> Self {
        Self { next, waiting: BTreeMap::new() }
    }

    /// The index of the next record to be given out.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The first index of the last append of which anything is here.
    pub(super) fn last_first(&self) -> u64 {
        self.waiting.last_key_value().map_or(self.next, |(first, _)| *first)
    }

    /// Takes in a piece. Those of one append come in their order.
    pub(crate) fn piece(&mut self, first_index: u64, piece: usize, bytes: Vec<u8>) {
        if piece == 0 {
            self.waiting.insert(first_index, bytes);
        } else if let Some(begun) = self.waiting.get_mut(&first_index) {
            begun.extend(bytes);
        }
    }

    /// The records before `head`, now that they are known to have happened.
    pub(crate) fn take_through(&mut self, head: u64) -> Result<Vec<(u64, Vec<u8>)>, Gap> {
        let mut taken = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < head) {
            let (first, stream) = entry.remove_entry();
            let records = layout::unpack(&stream).ok_or(Gap::Broken(first))?;
            for (index, record) in (first..).zip(records) {
                if index > self.next {
                    return Err(Gap::Missing(self.next));
                }
                if index == self.next && index < head {
                    taken.push((index, record.to_vec()));
                    self.next += 1;
                }
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    fn put(tail: &mut Tail, first: u64, texts: &[&str]) {
        for (number, piece) in layout::pack(&records(texts)).into_iter().enumerate() {
            tail.piece(first, number, piece);
        }
    }

    fn taken(tail: &mut Tail, head: u64) -> Vec<(u64, String)> {
        let taken = tail.take_through(head).unwrap();
        taken.into_iter().map(|(index, record)| (index, String::from_utf8(record).unwrap())).collect()
    }

    #[test]
    fn nothing_is_given_out_before_its_head() {
        let mut tail = Tail::new(3);
        put(&mut tail, 3, &["never"]);
        assert_eq!(taken(&mut tail, 3), []);
        put(&mut tail, 3, &["a", "b"]);
        assert_eq!(taken(&mut tail, 5), [(3, "a".to_owned()), (4, "b".to_owned())]);
        assert_eq!(tail.next(), 5);
    }

    #[test]
    fn an_append_in_pieces_is_put_together() {
        let large = "x".repeat(3 * 1024 * 1024);
        let mut tail = Tail::new(0);
        put(&mut tail, 0, &["a", &large]);
        let taken = taken(&mut tail, 2);
        assert_eq!((taken.len(), taken[1].1.len()), (2, large.len()));
    }

    #[test]
    fn what_the_snapshot_stands_for_is_skipped() {
        let mut tail = Tail::new(2);
        put(&mut tail, 0, &["a", "b"]);
        put(&mut tail, 2, &["c"]);
        assert_eq!(taken(&mut tail, 3), [(2, "c".to_owned())]);
    }

    #[test]
    fn gaps_are_noticed() {
        let mut tail = Tail::new(1);
        put(&mut tail, 2, &["c"]);
        assert_eq!(tail.take_through(3), Err(Gap::Missing(1)));
        let mut tail = Tail::new(0);
        tail.piece(0, 0, vec![1; 40]);
        assert_eq!(tail.take_through(1), Err(Gap::Broken(0)));
    }
}
