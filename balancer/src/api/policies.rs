//! Security policies of TLS listeners.
//!
//! A policy of ELBv2's is a name for protocols and ciphers. What is shown is what is served under that name here: TLS 1.2
//! and 1.3 with forward secrecy and authenticated ciphers, whatever else AWS has under it.

use ecsr_api::elbv2::enums::LOAD_BALANCER_TYPE_ENUM;
use ecsr_api::elbv2::{
    Cipher, DescribeSSLPoliciesInput, DescribeSSLPoliciesOutput, Error, ErrorCode, SslPolicy,
};

use super::check;
use super::page::{self, Page};

/// What a listener has that asks for none.
pub(super) const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

const TLS_1_3_ONLY: [&str; 1] = ["ELBSecurityPolicy-TLS13-1-3-2021-06"];
const OTHERS: [&str; 12] = [
    DEFAULT,
    "ELBSecurityPolicy-FS-1-2-2019-08",
    "ELBSecurityPolicy-FS-1-2-Res-2019-08",
    "ELBSecurityPolicy-FS-1-2-Res-2020-10",
    "ELBSecurityPolicy-FS-2018-06",
    "ELBSecurityPolicy-TLS-1-2-2017-01",
    "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
    "ELBSecurityPolicy-TLS13-1-2-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
];
const TLS_1_3_CIPHERS: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const TLS_1_2_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Whether there is such a policy.
pub(super) fn check(name: &str) -> Result<(), Error> {
    if OTHERS.contains(&name) || TLS_1_3_ONLY.contains(&name) { Ok(()) } else { Err(missing(name)) }
}

pub(super) fn describe(request: DescribeSSLPoliciesInput) -> Result<DescribeSSLPoliciesOutput, Error> {
    if let Some(kind) = &request.load_balancer_type {
        check::one_of(kind, "loadBalancerType", LOAD_BALANCER_TYPE_ENUM)?;
    }
    let names = match check::filter(request.names) {
        Some(names) => {
            names.iter().try_for_each(|name| check(name))?;
            names
        }
        None => OTHERS.iter().chain(&TLS_1_3_ONLY).map(ToString::to_string).collect(),
    };
    let items = names.into_iter().map(|name| (name.clone(), show(name)));
    let page = Page { marker: request.marker, size: request.page_size };
    let (policies, next_marker) = page::cut(page, items.collect())?;
    Ok(DescribeSSLPoliciesOutput { ssl_policies: Some(policies), next_marker })
}

fn show(name: String) -> SslPolicy {
    let (protocols, ciphers) = if TLS_1_3_ONLY.contains(&&*name) {
        (vec!["TLSv1.3"], TLS_1_3_CIPHERS.to_vec())
    } else {
        (vec!["TLSv1.2", "TLSv1.3"], [&TLS_1_3_CIPHERS[..], &TLS_1_2_CIPHERS[..]].concat())
    };
    let cipher =
        |(name, priority): (&str, i32)| Cipher { name: Some(name.to_owned()), priority: Some(priority) };
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    SslPolicy {
        name: Some(name),
        ssl_protocols: Some(owned(protocols)),
        ciphers: Some(ciphers.into_iter().zip(1..).map(cipher).collect()),
        supported_load_balancer_types: Some(owned(vec!["application", "network"])),
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorCode::SSLPolicyNotFound, format!("SSL policy '{name}' not found"))
}
