//! Certificates of listeners. There is no ACM here: the ARN of a certificate names files of the data directory.
//!
//! `arn:aws:acm:REGION:ACCOUNT:certificate/NAME` is `certificates/NAME.pem` and `certificates/NAME.key`. A name is never a
//! path. The pair of the reserved name `self-signed` is made when it is first asked for.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecsr_api::elbv2::{Error, ErrorCode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::check::unfit;
use crate::model::{Arn, Certificate};

/// The name whose files are made on the spot.
const SELF_SIGNED: &str = "self-signed";
/// Most characters of a name: with its ending it is a file's.
const NAME_CHARS_MAX: usize = 200;

/// Where certificates are, and for whom one is made.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    directory: PathBuf,
    /// What the ARN of a certificate of ours has before its name.
    prefix: String,
    /// Whom a self-signed certificate is for.
    names: Vec<String>,
}

/// Why the files of a certificate are no good.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{} holds no certificate", path.display())]
    Empty { path: PathBuf },
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("cannot make it: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot write it: {0}")]
    Write(#[from] io::Error),
}

impl Certificates {
    pub(crate) fn new(data_dir: &Path, region: &str, account: &str, dns_name: &str, bind: IpAddr) -> Self {
        let mut names = vec![dns_name.to_owned(), "localhost".to_owned()];
        let address = if bind.is_unspecified() { "127.0.0.1".to_owned() } else { bind.to_string() };
        names.push(address);
        names.dedup();
        let prefix = format!("arn:aws:acm:{region}:{account}:certificate/");
        Self { directory: data_dir.join("certificates"), prefix, names }
    }

    /// The certificate that an ARN names, if its files are there and hold a chain and its key.
    pub(super) fn find(&self, arn: &str) -> Result<Certificate, Error> {
        let missing = || Error::new(ErrorCode::CertificateNotFound, format!("Certificate '{arn}' not found"));
        let found = self.at(arn).ok_or_else(missing)?;
        let broken = |error: Unusable| unfit(format!("The certificate '{arn}' cannot be used: {error}"));
        let exists = found.chain.exists() && found.key.exists();
        if !exists && self.name(arn) == Some(SELF_SIGNED) {
            self.make(&found).map_err(broken)?;
        } else if !exists {
            return Err(missing());
        }
        check(&found).map_err(broken)?;
        Ok(found)
    }

    /// Where the files of a certificate are, whether they are there or not.
    pub(crate) fn at(&self, arn: &str) -> Option<Certificate> {
        let name = self.name(arn)?;
        let file = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        Some(Certificate { arn: Arn::from(arn), chain: file("pem"), key: file("key") })
    }

    fn name<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let name = arn.strip_prefix(&self.prefix)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_good = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_name);
        is_good.then_some(name)
    }

    fn make(&self, certificate: &Certificate) -> Result<(), Unusable> {
        let made = rcgen::generate_simple_self_signed(self.names.clone())?;
        fs::create_dir_all(&self.directory)?;
        // The key first: a pair is there when both files are.
        write_private(&certificate.key, &made.signing_key.serialize_pem())?;
        write_private(&certificate.chain, &made.cert.pem())?;
        Ok(())
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

fn check(certificate: &Certificate) -> Result<(), Unusable> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| Unusable::Read { path, source }
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&certificate.chain).map_err(read(&certificate.chain))?.collect();
    let chain = chain.map_err(read(&certificate.chain))?;
    if chain.is_empty() {
        return Err(Unusable::Empty { path: certificate.chain.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(read(&certificate.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    CertifiedKey::from_der(chain, key, &provider)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/";

    fn certificates(data_dir: &Path) -> Certificates {
        let bind = "127.0.0.1".parse().unwrap();
        Certificates::new(data_dir, "eu-west-1", "123456789012", "lb.test", bind)
    }

    #[test]
    fn a_name_is_never_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = certificates(dir.path());
        for name in ["", "../x", "a/b", "a b", "ü", "..%2f"] {
            let refused = certificates.find(&format!("{PREFIX}{name}")).unwrap_err();
            assert_eq!(refused.code, ErrorCode::CertificateNotFound, "{name}");
        }
        let elsewhere = "arn:aws:acm:us-east-1:123456789012:certificate/self-signed";
        assert_eq!(certificates.find(elsewhere).unwrap_err().code, ErrorCode::CertificateNotFound);
    }

    #[test]
    fn a_self_signed_pair_is_made_once_and_others_are_taken_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = certificates(dir.path());
        let arn = format!("{PREFIX}self-signed");
        let made = certificates.find(&arn).unwrap();
        let chain = fs::read_to_string(&made.chain).unwrap();
        assert_eq!(certificates.find(&arn), Ok(made.clone()));
        assert_eq!(fs::read_to_string(&made.chain).unwrap(), chain, "it is kept");

        let own = format!("{PREFIX}own.1");
        assert_eq!(certificates.find(&own).unwrap_err().code, ErrorCode::CertificateNotFound);
        fs::copy(&made.chain, dir.path().join("certificates/own.1.pem")).unwrap();
        fs::write(dir.path().join("certificates/own.1.key"), "no key").unwrap();
        assert_eq!(certificates.find(&own).unwrap_err().code, ErrorCode::InvalidConfigurationRequest);
        let other = rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        fs::write(dir.path().join("certificates/own.1.key"), other.signing_key.serialize_pem()).unwrap();
        let refused = certificates.find(&own).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfigurationRequest, "the key of another: {refused}");
        fs::copy(&made.key, dir.path().join("certificates/own.1.key")).unwrap();
        assert_eq!(certificates.find(&own).unwrap().chain, dir.path().join("certificates/own.1.pem"));
    }
}
