//! What listeners have of TLS: certificates, the policy of ciphers, and that of application protocols.

use ecsr_api::elbv2::{
    self, AddListenerCertificatesInput, AddListenerCertificatesOutput, DescribeListenerCertificatesInput,
    DescribeListenerCertificatesOutput, Error, ErrorCode, MutualAuthenticationAttributes,
    RemoveListenerCertificatesInput, RemoveListenerCertificatesOutput,
};

use super::check::{self, invalid, unsupported};
use super::draft::{self, Draft, Site};
use super::page::{self, Page};
use super::{listeners, policies};
use crate::model::{Certificate, Listener, Protocol, State};

const ALPN_POLICIES: [&str; 5] = ["HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"];

/// What a request says of TLS.
pub(super) struct Tls {
    pub certificates: Option<Vec<elbv2::Certificate>>,
    pub policy: Option<String>,
    pub alpn: Option<Vec<String>>,
}

/// What is not asked for stays, or is what it is by default; without TLS there is none of it.
pub(super) fn set(site: &Site, listener: &mut Listener, asked: Tls) -> Result<(), Error> {
    let name = listener.protocol.name();
    let alpn = asked.alpn.filter(|policies| !policies.is_empty());
    if is_encrypted(listener.protocol) {
        if let Some(certificates) = asked.certificates {
            set_default_certificate(site, listener, &named(certificates)?)?;
        }
        if listener.certificates.is_empty() {
            return Err(invalid(format!("A certificate must be specified for {name} listeners")));
        }
        if let Some(policy) = asked.policy {
            policies::check(&policy)?;
            listener.ssl_policy = Some(policy);
        }
        listener.ssl_policy.get_or_insert_with(|| policies::DEFAULT.to_owned());
    } else {
        if asked.certificates.is_some_and(|certificates| !certificates.is_empty()) {
            return Err(no_certificates(listener.protocol));
        }
        if asked.policy.is_some_and(|policy| !policy.is_empty()) {
            return Err(invalid(format!("An SSL policy cannot be specified for {name} listeners")));
        }
        listener.certificates.clear();
        (listener.ssl_policy, listener.alpn_policy) = (None, None);
    }
    match (alpn, listener.protocol) {
        (None, Protocol::Tls) => Ok(()),
        (None, _) => {
            listener.alpn_policy = None;
            Ok(())
        }
        (Some(policies), Protocol::Tls) => set_alpn(listener, policies),
        (Some(_), _) => Err(invalid(format!("An ALPN policy cannot be specified for {name} listeners"))),
    }
}

fn set_default_certificate(site: &Site, listener: &mut Listener, asked: &[String]) -> Result<(), Error> {
    let [arn] = asked else {
        let message =
            format!("Up to '1' certificates can be specified, but '{}' were specified", asked.len());
        return Err(Error::new(ErrorCode::TooManyCertificates, message));
    };
    let default = site.certificates.find(arn)?;
    listener.certificates.retain(|kept| kept.arn != default.arn);
    if listener.certificates.is_empty() {
        listener.certificates.push(default);
    } else {
        listener.certificates[0] = default;
    }
    Ok(())
}

fn set_alpn(listener: &mut Listener, policies: Vec<String>) -> Result<(), Error> {
    match <[String; 1]>::try_from(policies) {
        Ok([policy]) if ALPN_POLICIES.contains(&&*policy) => {
            listener.alpn_policy = Some(policy);
            Ok(())
        }
        Ok(_) => Err(Error::new(ErrorCode::ALPNPolicyNotFound, "The specified ALPN policy is not supported")),
        Err(_) => Err(invalid("Only one ALPN policy can be specified")),
    }
}

pub(super) fn describe_certificates(
    state: &State,
    request: DescribeListenerCertificatesInput,
) -> Result<DescribeListenerCertificatesOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    let listener = draft::listener(state, &arn)?;
    let shown = listener.certificates.iter().enumerate().map(|(at, found)| (at == 0, found));
    // The default one comes first, the others by name.
    let items = shown.map(|(is_default, found)| {
        let key = format!("{}{}", u8::from(!is_default), found.arn);
        let shown = show_certificate(found, is_default);
        (key, shown)
    });
    let page = Page { marker: request.marker, size: request.page_size };
    let (certificates, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeListenerCertificatesOutput { certificates: Some(certificates), next_marker })
}

pub(super) fn add_certificates(
    draft: &mut Draft<'_>,
    request: AddListenerCertificatesInput,
) -> Result<AddListenerCertificatesOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    let asked = named(check::items(request.certificates, "certificates")?)?;
    let mut listener = (**draft::listener(&draft.state, &arn)?).clone();
    if !is_encrypted(listener.protocol) {
        return Err(no_certificates(listener.protocol));
    }
    let mut shown = Vec::new();
    for arn in asked {
        let found = draft.site.certificates.find(&arn)?;
        shown.push(show_certificate(&found, false));
        if !listener.certificates.contains(&found) {
            listener.certificates.push(found);
        }
    }
    listeners::put(draft, listener)?;
    Ok(AddListenerCertificatesOutput { certificates: Some(shown) })
}

pub(super) fn remove_certificates(
    draft: &mut Draft<'_>,
    request: RemoveListenerCertificatesInput,
) -> Result<RemoveListenerCertificatesOutput, Error> {
    let arn = check::required(request.listener_arn, "listenerArn")?;
    let asked = named(check::items(request.certificates, "certificates")?)?;
    let listener = draft.listener_mut(&arn)?;
    if listener.certificates.first().is_some_and(|default| asked.iter().any(|arn| **arn == *default.arn)) {
        let message = "The default certificate of a listener cannot be removed";
        return Err(Error::new(ErrorCode::OperationNotPermitted, message));
    }
    listener.certificates.retain(|kept| !asked.iter().any(|arn| **arn == *kept.arn));
    Ok(RemoveListenerCertificatesOutput {})
}

pub(super) fn check_mutual_authentication(
    asked: Option<&MutualAuthenticationAttributes>,
) -> Result<(), Error> {
    match asked.and_then(|asked| asked.mode.as_deref()) {
        None | Some("off") => Ok(()),
        Some(_) => Err(unsupported("Mutual authentication is")),
    }
}

fn is_encrypted(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Https | Protocol::Tls)
}

fn no_certificates(protocol: Protocol) -> Error {
    invalid(format!("A certificate cannot be specified for {} listeners", protocol.name()))
}

fn named(certificates: Vec<elbv2::Certificate>) -> Result<Vec<String>, Error> {
    let arn = |certificate: elbv2::Certificate| {
        check::required(certificate.certificate_arn, "certificates.member.certificateArn")
    };
    certificates.into_iter().map(arn).collect()
}

fn show_certificate(certificate: &Certificate, is_default: bool) -> elbv2::Certificate {
    elbv2::Certificate { certificate_arn: Some(certificate.arn.to_string()), is_default: Some(is_default) }
}
