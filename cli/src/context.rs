//! The context file: how the verbs find the ecsr that `ecsr up` started on this machine, and with which key.
//! It is derived data (the scheduler's own files are the truth), holds a secret, and therefore is written
//! whole, by rename, readable by its owner alone. `ecsr down` removes it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};

const FILE: &str = "context.json";

/// A local ecsr, as its clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    /// Base URL of its ECS API, `http://127.0.0.1:7070`.
    pub(crate) endpoint: String,
    /// Base URL of its load balancer's API, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) balancer: Option<String>,
    /// The region that requests are signed for.
    pub(crate) region: String,
    /// The cluster that verbs work on unless `--cluster` says otherwise.
    pub(crate) cluster: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Context {
    /// Reads the context of `data_dir`; `None` when no ecsr was started there.
    pub(crate) fn load(data_dir: &Path) -> Result<Option<Self>, Failure> {
        let path = data_dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(&path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(&path, &error))
    }

    /// Writes the context of `data_dir`, owner-readable only.
    pub(crate) fn save(&self, data_dir: &Path) -> io::Result<()> {
        let path = data_dir.join(FILE);
        let fresh = data_dir.join(format!("{FILE}.new"));
        let text = serde_json::to_string_pretty(self).expect("strings always serialise");
        remove_if_there(&fresh)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        fs::rename(&fresh, &path)
    }

    /// Forgets the context of `data_dir`; fine when there is none.
    pub(crate) fn remove(data_dir: &Path) -> io::Result<()> {
        remove_if_there(&data_dir.join(FILE))
    }
}

fn remove_if_there(path: &PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot read {}: {error}", path.display()))
        .hint("`ecsr up` writes it anew; --endpoint-url, --profile and --aws work without it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn sample() -> Context {
        Context {
            endpoint: "http://127.0.0.1:7070".into(),
            balancer: Some("http://127.0.0.1:7072".into()),
            region: "us-east-1".into(),
            cluster: "default".into(),
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "secret".into(),
        }
    }

    #[test]
    fn survives_the_file_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Context::load(dir.path()).unwrap(), None);
        sample().save(dir.path()).unwrap();
        sample().save(dir.path()).unwrap();
        assert_eq!(Context::load(dir.path()).unwrap(), Some(sample()));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Context::remove(dir.path()).unwrap();
        Context::remove(dir.path()).unwrap();
        assert_eq!(Context::load(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Context::load(dir.path()).unwrap_err().to_string().contains("context.json"));
    }
}
