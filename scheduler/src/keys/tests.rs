//! Keys in a file, as the command and a running scheduler see them.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_looks_like_one_of_aws() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyFile::open(dir.path()).unwrap().create("ci", Scope::default()).unwrap();
    assert_eq!((key.id.len(), key.secret.len(), key.description.as_str()), (20, 40, "ci"));
    assert!(key.id.starts_with("AKIA"));
    assert!(!format!("{key:?}").contains(&key.secret));
}

#[test]
fn only_the_owner_can_read_keys() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    KeyFile::open(&data_dir).unwrap().create("", Scope::default()).unwrap();
    assert_eq!((mode(&data_dir), mode(&data_dir.join("keys.json"))), (0o700, 0o600));
}

#[test]
fn another_handle_sees_each_change_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let scheduler = KeyFile::open(dir.path()).unwrap();
    let command = KeyFile::open(dir.path()).unwrap();
    let first = command.create("first", Scope::default()).unwrap();
    let second = command.create("second", Scope::default()).unwrap();
    assert_eq!(scheduler.keys().len(), 2);
    command.delete(&first.id).unwrap();
    assert_eq!(scheduler.keys().keys().collect::<Vec<_>>(), [&second.id]);
    assert_eq!(scheduler.list().unwrap(), [second]);
}

#[test]
fn the_first_key_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::open(dir.path()).unwrap();
    let first = file.ensure_first().unwrap().unwrap();
    assert_eq!(file.ensure_first().unwrap(), None);
    assert_eq!(file.list().unwrap(), [first]);
}

#[test]
fn unknown_keys_and_long_descriptions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::open(dir.path()).unwrap();
    assert!(matches!(file.delete("AKIANONE"), Err(Error::Unknown(id)) if id == "AKIANONE"));
    assert!(matches!(file.create(&"x".repeat(257), Scope::default()), Err(Error::DescriptionTooLong)));
}

#[test]
fn a_damaged_file_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let check = |content: &str, expected: &str| {
        fs::write(&path, content).unwrap();
        let error = KeyFile::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    };
    check("{\"version\":1,\"keys\":[", "cannot be understood; nothing was changed");
    check("{\"version\":9,\"keys\":[]}", "newer version of ecsr (format 9)");
}

#[test]
fn a_running_scheduler_outlives_a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::open(dir.path()).unwrap();
    let key = file.create("", Scope::default()).unwrap();
    assert_eq!(file.keys().len(), 1);
    fs::write(dir.path().join("keys.json"), "oops").unwrap();
    assert!(file.keys().contains_key(&key.id));
    assert!(matches!(file.create("", Scope::default()).unwrap_err(), Error::Damaged { .. }));
}

#[test]
fn a_scope_is_kept_and_read_by_nobody_who_knows_none() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path().join("keys.json"), KeyFile::open(dir.path()).unwrap());
    let version = || serde_json::from_slice::<Versioned>(&fs::read(&path).unwrap()).unwrap().version;
    file.create("everything", Scope::default()).unwrap();
    assert_eq!(version(), VERSION_WITHOUT_SCOPES, "an older binary goes on with it");
    let scope = Scope { clusters: ["prod".to_owned()].into(), actions: Actions::Agent };
    let key = file.create("host 7", scope.clone()).unwrap();
    assert_eq!((version(), file.list().unwrap()[1].scope.clone()), (VERSION, scope));
    file.delete(&key.id).unwrap();
    assert_eq!(version(), VERSION_WITHOUT_SCOPES);
}

#[test]
fn a_scope_names_clusters_that_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::open(dir.path()).unwrap();
    let create = |clusters: Vec<String>| {
        let scope = Scope { clusters: clusters.into_iter().collect(), actions: Actions::All };
        file.create("", scope).map(|_| ()).map_err(|error| error.to_string())
    };
    let error = create(vec!["a/b".to_owned()]).unwrap_err();
    assert_eq!(error, "\"a/b\" names no cluster: Cluster name contains invalid characters.");
    let many = (0..=CLUSTERS_MAX).map(|number| format!("c{number}")).collect();
    assert_eq!(create(many).unwrap_err(), "a key may name at most 100 clusters");
    assert_eq!(file.list().unwrap(), []);
}

#[test]
fn only_keys_without_limits_count_where_limits_mean_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::open(dir.path()).unwrap();
    let all = file.create("", Scope::default()).unwrap();
    let agent = file.create("", Scope { actions: Actions::Agent, ..Scope::default() }).unwrap();
    assert_eq!(file.unlimited_secret(&all.id), Some(all.secret));
    assert_eq!(file.unlimited_secret(&agent.id), None);
    assert_eq!(file.unlimited_secret("AKIANONE"), None);
}
