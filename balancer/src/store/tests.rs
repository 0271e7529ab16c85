//! What is kept, through ends of all kinds, and what is refused without being touched.

use std::net::IpAddr;
use std::sync::Arc;

use redb::{Database, TableDefinition};

use super::*;
use crate::model::{Arn, Attributes, Kind, LoadBalancer, Tags};

fn with(names: &[&str]) -> State {
    let balancer = |name: &&str| {
        let arn = Arn::from(*name);
        let balancer = LoadBalancer {
            arn: arn.clone(),
            name: (*name).to_owned(),
            kind: Kind::Application,
            scheme: "internal".to_owned(),
            dns_name: "localhost".to_owned(),
            address: IpAddr::from([127, 0, 0, 1]),
            own_address: None,
            subnets: Vec::new(),
            security_groups: Vec::new(),
            ip_address_type: "ipv4".to_owned(),
            attributes: Attributes::new(),
            tags: Tags::new(),
            created_at: ecsr_api::Timestamp::from_millis(1_800_000_000_123),
        };
        (arn, Arc::new(balancer))
    };
    State { load_balancers: names.iter().map(balancer).collect(), ..State::default() }
}

/// What a data directory holds.
fn kept(dir: &Path) -> State {
    Store::open(dir).unwrap().1
}

/// A directory with the file as it is now, as after a kill.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join("balancer.redb"), copy.path().join("balancer.redb")).unwrap();
    copy
}

#[test]
fn what_was_written_is_there_after_any_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, state) = Store::open(dir.path()).unwrap();
    assert_eq!(state, State::default());
    let mut last = state;
    for names in [&["a"][..], &["a", "b"], &["b", "c"], &[]] {
        let next = with(names);
        store.write(&last, &next).unwrap();
        assert_eq!(kept(killed(dir.path()).path()), next, "killed after {names:?}");
        last = next;
    }
    store.write(&last, &with(&["a"])).unwrap();
    drop(store);
    assert_eq!(kept(dir.path()), with(&["a"]));
}

#[test]
fn after_a_failed_write_everything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, state) = Store::open(dir.path()).unwrap();
    store.write(&state, &with(&["a", "b"])).unwrap();
    // As a failed write leaves it: closed, and with rows that nobody knows of.
    store.database = None;
    let next = with(&["b", "c"]);
    store.write(&next, &next).unwrap();
    drop(store);
    assert_eq!(kept(dir.path()), next);
}

#[test]
fn two_balancers_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse { .. })));
    drop(held);
    Store::open(dir.path()).unwrap();
}

#[test]
fn what_is_refused_stays_as_it_is() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, state) = Store::open(dir.path()).unwrap();
        store.write(&state, &with(&["a"])).unwrap();
        drop(store);
        let path = dir.path().join("balancer.redb");
        spoil(&path);
        let before = fs::read(&path).unwrap();
        let refused = Store::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(fs::read(&path).unwrap() == before, "{expected}: the file was touched");
    };
    check(&|path| fs::write(path, "").unwrap(), "it is empty");
    check(&|path| fs::write(path, "something else").unwrap(), "is damaged");
    check(
        &|path| {
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.windows(9).rposition(|window| window == b"localhost").unwrap();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        "is damaged",
    );
    let set_format = |format: u64| {
        move |path: &Path| {
            let write = Database::open(path).unwrap().begin_write().unwrap();
            write.open_table(META).unwrap().insert(FORMAT_KEY, format).unwrap();
            write.commit().unwrap();
        }
    };
    check(&set_format(2), "by a later version (format 2");
    let put_row = |arn: &'static str, row: &'static str| {
        move |path: &Path| {
            let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("load_balancers");
            let write = Database::open(path).unwrap().begin_write().unwrap();
            write.open_table(table).unwrap().insert(arn, row.as_bytes()).unwrap();
            write.commit().unwrap();
        }
    };
    check(&put_row("b", "{}"), "the row of b makes no sense");
}
