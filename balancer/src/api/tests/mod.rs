//! The operations, asked as clients ask them: forms in, XML out.

mod forms;
mod http;
mod listeners;
mod load_balancers;
mod rules;
mod target_groups;
mod targets;

use std::collections::BTreeMap;

use ecsr_api::Timestamp;
use ecsr_api::awsquery::Form;
use ecsr_api::elbv2::{self, Error, ErrorCode};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::draft::{Draft, Ids, Site};
use super::operations::{Call, Part, View, part};
use crate::model::{Arn, HealthState, State, TargetHealth, TargetKey};

const SELF_SIGNED: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/self-signed";

/// A state, and the requests that are made of it.
struct World {
    state: State,
    site: Site,
    now: Timestamp,
    ids: Ids,
    _data_dir: TempDir,
}

impl World {
    fn new() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let bind = "127.0.0.1".parse().unwrap();
        let certificates = Certificates::new(data_dir.path(), "eu-west-1", "123456789012", "lb.test", bind);
        let site = Site {
            region: "eu-west-1".to_owned(),
            account: "123456789012".to_owned(),
            dns_name: "lb.test".to_owned(),
            bind,
            instances: BTreeMap::from([("i-1".to_owned(), "10.0.0.1".parse().unwrap())]),
            certificates,
        };
        let now = Timestamp::from_seconds(1_800_000_000);
        Self { state: State::default(), site, now, ids: Ids::new(1), _data_dir: data_dir }
    }

    /// Asks for an operation, with parameters as in a query but for their encoding.
    fn try_ask(&mut self, request: &str) -> Result<String, Error> {
        let form = Form::parse(&format!("Action={}", request.replacen(' ', "&", 1)))?;
        let call = Call { operation: elbv2::operation_of(&form)?, form, request_id: "id".to_owned() };
        match part(call.operation)? {
            Part::Read(read) => {
                let health = |_: &_, _: &TargetKey| TargetHealth {
                    state: HealthState::Healthy,
                    reason: None,
                    description: None,
                };
                read(&call, &View { state: &self.state, site: &self.site, health: &health })
            }
            Part::Change(change) => {
                let state = self.state.clone();
                let mut draft = Draft { state, site: &self.site, now: self.now, ids: self.ids.clone() };
                let answer = change(&call, &mut draft)?;
                self.ids = draft.ids;
                self.state = draft.state;
                Ok(answer)
            }
        }
    }

    /// The answer to what must succeed.
    fn ask(&mut self, request: &str) -> String {
        self.try_ask(request).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// The error of what must not, which has changed nothing.
    fn refused(&mut self, request: &str) -> (ErrorCode, String) {
        let before = self.state.clone();
        let error = self.try_ask(request).expect_err(request);
        assert_eq!(self.state, before, "{request} was refused and changed something");
        (error.code, error.message)
    }

    /// A load balancer of that kind; its ARN.
    fn balancer(&mut self, name: &str, kind: &str) -> String {
        arn_in(&self.ask(&format!("CreateLoadBalancer Name={name}&Type={kind}")), "LoadBalancerArn")
    }

    /// A target group for addresses; its ARN.
    fn group(&mut self, name: &str, protocol: &str) -> String {
        let request = format!("CreateTargetGroup Name={name}&Protocol={protocol}&Port=80&TargetType=ip");
        arn_in(&self.ask(&request), "TargetGroupArn")
    }

    /// A listener that forwards to a group; its ARN.
    fn listener(&mut self, balancer: &str, protocol: &str, port: u16, group: &str) -> String {
        let request = format!(
            "CreateListener LoadBalancerArn={balancer}&Protocol={protocol}&Port={port}&{}",
            forward(group)
        );
        arn_in(&self.ask(&request), "ListenerArn")
    }
}

fn forward(group: &str) -> String {
    format!("DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}")
}

/// What an element holds; of several, each.
fn values<'a>(answer: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let parts = answer.split(&open).skip(1);
    parts.map(|part| part.split(&close).next().unwrap()).collect()
}

fn value<'a>(answer: &'a str, element: &str) -> &'a str {
    let found = values(answer, element);
    found.first().unwrap_or_else(|| panic!("no {element} in {answer}"))
}

fn arn_in(answer: &str, element: &str) -> String {
    value(answer, element).to_owned()
}

/// What the attributes of an answer are.
fn attributes(answer: &str) -> BTreeMap<&str, &str> {
    values(answer, "Key").into_iter().zip(values(answer, "Value")).collect()
}

fn key(id: &str, port: u16) -> TargetKey {
    TargetKey { id: id.into(), port }
}

fn arn(text: &str) -> Arn {
    text.into()
}
