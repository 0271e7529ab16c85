//! The container instances that this machine has been for the ecsr of a data directory, one ARN per line.
//! Containers of tasks carry the ARN of their instance, so this is how `ecsr down --purge` knows its own
//! among all containers of the engine, also when the scheduler that knew them is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "instances";

/// The instances remembered in `data_dir`.
pub(crate) fn load(data_dir: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(data_dir.join(FILE)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error),
    }
}

/// Remembers `instances` beside those of before.
pub(crate) fn add(data_dir: &Path, instances: impl IntoIterator<Item = String>) -> io::Result<()> {
    let before = load(data_dir)?;
    let mut after = before.clone();
    after.extend(instances);
    if after == before {
        return Ok(());
    }
    let fresh = data_dir.join(format!("{FILE}.new"));
    fs::write(&fresh, after.into_iter().map(|arn| arn + "\n").collect::<String>())?;
    fs::rename(&fresh, data_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        add(dir.path(), ["arn:b".to_owned()]).unwrap();
        add(dir.path(), ["arn:a".to_owned(), "arn:b".to_owned()]).unwrap();
        assert_eq!(load(dir.path()).unwrap().into_iter().collect::<Vec<_>>(), ["arn:a", "arn:b"]);
    }
}
