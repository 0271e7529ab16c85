//! Pages of a list: where one starts, when it is full, and the token that the next one starts from.
//!
//! A token holds the key of the last entry that was looked at, so a page starts with a range scan whatever came or
//! went in between: nothing that stays is shown twice or left out. The token also holds a digest of that key and of
//! the request's filters; a token that was made up, altered, or used with another request is refused.
//!
//! Invariant: one page looks at no more than [`SCANNED_MAX`] entries. Where filters pass over more, the page is
//! shorter than asked, which ECS's contract allows, and has a token.

use std::fmt::Display;
use std::ops::Bound;
use std::str::FromStr;

use ecsr_api::ecs::Operation;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::names;
use crate::refusal::{Refusal, invalid};

/// The most items that any ECS list gives at once, and what most give when not told.
pub(super) const PAGE_MAX: i32 = 100;
/// Most entries that one page looks at: a few milliseconds of work.
const SCANNED_MAX: usize = 10_000;
/// Longest token that is looked at; the longest that we make holds a name of 255 characters as hex digits.
const TOKEN_LENGTH_MAX: usize = 1024;
/// The form of the token, so that a later form can tell it apart.
const VERSION: u8 = 1;
const DIGEST_LENGTH: usize = 16;

/// One page of a list whose entries are in the order of their keys.
pub(super) struct Page<K> {
    size: usize,
    after: Option<K>,
    /// What the token's digest covers besides the key.
    scope: Vec<u8>,
}

/// The members of a list request that speak of pages.
pub(super) struct Asked<'a> {
    pub(super) max_results: Option<i32>,
    pub(super) next_token: Option<&'a str>,
    /// Items when `max_results` is absent.
    pub(super) default: i32,
}

impl<K: Display + FromStr> Page<K> {
    /// The page that is asked for. `filters` is the request without the members in `asked`.
    pub(super) fn open(
        operation: Operation,
        filters: &impl Serialize,
        asked: &Asked<'_>,
    ) -> Result<Self, Refusal> {
        let size = names::in_range("maxResults", asked.max_results.unwrap_or(asked.default), 1..=PAGE_MAX)?;
        let size = usize::try_from(size).expect("a page has at most a hundred items");
        let scope = serde_json::to_vec(&(operation.name(), filters)).expect("wire types always serialise");
        let mut page = Self { size, after: None, scope };
        if let Some(token) = asked.next_token.filter(|token| !token.is_empty()) {
            let after = page.read_token(token).ok_or_else(|| invalid("Invalid token."))?;
            page.after = Some(after);
        }
        Ok(page)
    }

    /// The key of the last entry of the page before.
    pub(super) fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// Fills the page from entries behind [`Self::after`]: what `item` makes of them, and the token for more.
    pub(super) fn fill<E, T>(
        &self,
        entries: impl IntoIterator<Item = E>,
        key: impl Fn(&E) -> K,
        item: impl Fn(&E) -> Option<T>,
    ) -> (Vec<T>, Option<String>) {
        let mut items = Vec::new();
        let mut last = None;
        for (scanned, entry) in entries.into_iter().enumerate() {
            let found = item(&entry);
            if scanned == SCANNED_MAX || (items.len() == self.size && found.is_some()) {
                return (items, last.map(|last| self.token(&key(&last))));
            }
            items.extend(found);
            last = Some(entry);
        }
        (items, None)
    }

    fn token(&self, key: &K) -> String {
        let key = key.to_string();
        let mut bytes = vec![VERSION];
        bytes.extend(self.digest(&key));
        bytes.extend(key.as_bytes());
        hex::encode(bytes)
    }

    fn read_token(&self, token: &str) -> Option<K> {
        if token.len() > TOKEN_LENGTH_MAX {
            return None;
        }
        let bytes = hex::decode(token).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (digest, key) = rest.split_at_checked(DIGEST_LENGTH)?;
        let key = str::from_utf8(key).ok()?;
        if *version != VERSION || digest != self.digest(key) {
            return None;
        }
        key.parse().ok()
    }

    fn digest(&self, key: &str) -> [u8; DIGEST_LENGTH] {
        let mut hash = Sha256::new();
        // The scope is JSON, so its end is certain without a length.
        hash.update(&self.scope);
        hash.update(key);
        hash.finalize()[..DIGEST_LENGTH].try_into().expect("the first bytes of a longer digest")
    }
}

/// Where a scan behind `after` begins, if `first` is the smallest key there could be.
pub(super) fn start<K>(after: Option<K>, first: K) -> Bound<K> {
    match after {
        Some(after) => Bound::Excluded(after),
        None => Bound::Included(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(filters: &str, max_results: i32, token: Option<&str>) -> Result<Page<u32>, Refusal> {
        let asked = Asked { max_results: Some(max_results), next_token: token, default: PAGE_MAX };
        Page::open(Operation::ListTasks, &filters, &asked)
    }

    fn fill(page: &Page<u32>, end: u32, keep: impl Fn(u32) -> bool) -> (Vec<u32>, Option<String>) {
        let first = page.after().map_or(0, |after| after + 1);
        page.fill(first..end, |number| *number, |number| keep(*number).then_some(*number))
    }

    #[test]
    fn pages_follow_one_another_without_gap_or_overlap() {
        let (mut all, mut token) = (Vec::new(), None);
        for _ in 0..3 {
            let page = open("f", 3, token.as_deref()).unwrap();
            let (items, next) = fill(&page, 8, |_| true);
            all.extend(items);
            token = next;
        }
        assert_eq!((all, token), ((0..8).collect(), None));
    }

    #[test]
    fn the_last_page_has_no_token_even_when_full() {
        let page = open("f", 2, None).unwrap();
        assert_eq!(fill(&page, 10, |number| number % 5 == 0), (vec![0, 5], None));
    }

    #[test]
    fn a_page_ends_where_it_has_looked_at_enough() {
        let page = open("f", 2, None).unwrap();
        let far = u32::try_from(SCANNED_MAX).unwrap() + 5;
        let (items, token) = fill(&page, far + 1, |number| number == far);
        assert!(items.is_empty());
        let page = open("f", 2, token.as_deref()).unwrap();
        assert_eq!(fill(&page, far + 1, |number| number == far), (vec![far], None));
    }

    #[test]
    fn tokens_of_others_are_refused() {
        let (_, token) = fill(&open("f", 1, None).unwrap(), 8, |_| true);
        let token = token.unwrap();
        let check = |filters: &str, token: &str, accepted: bool| {
            let opened = open(filters, 1, Some(token));
            assert_eq!(opened.err(), (!accepted).then(|| invalid("Invalid token.")), "{filters} {token}");
        };
        check("f", &token, true);
        check("g", &token, false);
        check("f", &format!("{token}30"), false);
        check("f", &token[2..], false);
        check("f", "garbage", false);
        check("f", "00", false);
        check("f", &"00".repeat(TOKEN_LENGTH_MAX), false);
    }

    #[test]
    fn sizes_have_bounds() {
        for size in [0, -1, 101] {
            assert_eq!(open("f", size, None).err(), Some(invalid("maxResults should be between 1 and 100.")));
        }
    }
}
