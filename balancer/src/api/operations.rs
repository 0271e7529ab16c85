//! What each operation is: a read, a change, or nothing that is here.

use ecsr_api::awsquery::Form;
use ecsr_api::elbv2::{self, Error, ErrorCode, Operation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::draft::{Draft, Site};
use super::targets::Health;
use super::{
    attributes, limits, listeners, load_balancers, policies, rules, tags, target_groups, targets, tls,
};
use crate::model::State;

/// A request whose signature is good.
#[derive(Debug)]
pub(crate) struct Call {
    pub operation: Operation,
    pub form: Form,
    pub request_id: String,
}

/// What a read looks at.
pub(crate) struct View<'a> {
    pub state: &'a State,
    pub site: &'a Site,
    pub health: &'a Health<'a>,
}

/// Answers with XML out of the state.
type Read = fn(&Call, &View<'_>) -> Result<String, Error>;
/// Answers with XML, and changes the state.
type Change = fn(&Call, &mut Draft<'_>) -> Result<String, Error>;

/// What an operation does.
pub(crate) enum Part {
    Read(Read),
    Change(Change),
}

impl Call {
    /// Reads the parameters, asks for the decision and writes the answer.
    fn decide<I: DeserializeOwned, O: Serialize>(
        &self,
        decide: impl FnOnce(I) -> Result<O, Error>,
    ) -> Result<String, Error> {
        let answer = decide(elbv2::read_request(&self.form)?)?;
        Ok(elbv2::response(self.operation, &answer, &self.request_id))
    }
}

/// What an operation does; an error if it is not done here.
pub(crate) fn part(operation: Operation) -> Result<Part, Error> {
    read(operation).map(Part::Read).or_else(|| change(operation).map(Part::Change)).ok_or_else(|| {
        let message = format!("{} is not supported by this endpoint", operation.name());
        Error::new(ErrorCode::OperationNotPermitted, message)
    })
}

fn read(operation: Operation) -> Option<Read> {
    Some(match operation {
        Operation::DescribeAccountLimits => |call, _| call.decide(limits::describe),
        Operation::DescribeCapacityReservation => |call, view| {
            call.decide(|request| load_balancers::describe_capacity_reservation(view.state, request))
        },
        Operation::DescribeListenerAttributes => {
            |call, view| call.decide(|request| attributes::describe_listener(view.state, request))
        }
        Operation::DescribeListenerCertificates => {
            |call, view| call.decide(|request| tls::describe_certificates(view.state, request))
        }
        Operation::DescribeListeners => {
            |call, view| call.decide(|request| listeners::describe(view.state, request))
        }
        Operation::DescribeLoadBalancerAttributes => {
            |call, view| call.decide(|request| attributes::describe_load_balancer(view.state, request))
        }
        Operation::DescribeLoadBalancers => {
            |call, view| call.decide(|request| load_balancers::describe(view.state, view.site, request))
        }
        Operation::DescribeRules => |call, view| call.decide(|request| rules::describe(view.state, request)),
        Operation::DescribeSSLPolicies => |call, _| call.decide(policies::describe),
        Operation::DescribeTags => |call, view| call.decide(|request| tags::describe(view.state, request)),
        Operation::DescribeTargetGroupAttributes => {
            |call, view| call.decide(|request| attributes::describe_target_group(view.state, request))
        }
        Operation::DescribeTargetGroups => {
            |call, view| call.decide(|request| target_groups::describe(view.state, request))
        }
        Operation::DescribeTargetHealth => {
            |call, view| call.decide(|request| targets::describe_health(view.state, view.health, request))
        }
        _ => return None,
    })
}

fn change(operation: Operation) -> Option<Change> {
    Some(match operation {
        Operation::AddListenerCertificates => {
            |call, draft| call.decide(|request| tls::add_certificates(draft, request))
        }
        Operation::AddTags => |call, draft| call.decide(|request| tags::add(draft, request)),
        Operation::CreateListener => |call, draft| call.decide(|request| listeners::create(draft, request)),
        Operation::CreateLoadBalancer => {
            |call, draft| call.decide(|request| load_balancers::create(draft, request))
        }
        Operation::CreateRule => |call, draft| call.decide(|request| rules::create(draft, request)),
        Operation::CreateTargetGroup => {
            |call, draft| call.decide(|request| target_groups::create(draft, request))
        }
        Operation::DeleteListener => |call, draft| call.decide(|request| listeners::delete(draft, request)),
        Operation::DeleteLoadBalancer => {
            |call, draft| call.decide(|request| load_balancers::delete(draft, request))
        }
        Operation::DeleteRule => |call, draft| call.decide(|request| rules::delete(draft, request)),
        Operation::DeleteTargetGroup => {
            |call, draft| call.decide(|request| target_groups::delete(draft, request))
        }
        Operation::DeregisterTargets => {
            |call, draft| call.decide(|request| targets::deregister(draft, request))
        }
        Operation::ModifyListener => |call, draft| call.decide(|request| listeners::modify(draft, request)),
        Operation::ModifyListenerAttributes => {
            |call, draft| call.decide(|request| attributes::modify_listener(draft, request))
        }
        Operation::ModifyLoadBalancerAttributes => {
            |call, draft| call.decide(|request| attributes::modify_load_balancer(draft, request))
        }
        Operation::ModifyRule => |call, draft| call.decide(|request| rules::modify(draft, request)),
        Operation::ModifyTargetGroup => {
            |call, draft| call.decide(|request| target_groups::modify(draft, request))
        }
        Operation::ModifyTargetGroupAttributes => {
            |call, draft| call.decide(|request| attributes::modify_target_group(draft, request))
        }
        Operation::RegisterTargets => |call, draft| call.decide(|request| targets::register(draft, request)),
        Operation::RemoveListenerCertificates => {
            |call, draft| call.decide(|request| tls::remove_certificates(draft, request))
        }
        Operation::RemoveTags => |call, draft| call.decide(|request| tags::remove(draft, request)),
        Operation::SetIpAddressType => {
            |call, draft| call.decide(|request| load_balancers::set_ip_address_type(draft, request))
        }
        Operation::SetRulePriorities => {
            |call, draft| call.decide(|request| rules::set_priorities(draft, request))
        }
        Operation::SetSecurityGroups => {
            |call, draft| call.decide(|request| load_balancers::set_security_groups(draft, request))
        }
        Operation::SetSubnets => {
            |call, draft| call.decide(|request| load_balancers::set_subnets(draft, request))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_concerns_applications_and_networks_is_here() {
        let missing = Operation::ALL.iter().filter(|operation| part(**operation).is_err());
        let missing: Vec<&str> = missing.map(|operation| operation.name()).collect();
        let elsewhere = |name: &&&str| {
            !["TrustStore", "Capacity", "ResourcePolicy", "IpPools"].iter().any(|word| name.contains(word))
        };
        assert_eq!(missing.iter().find(elsewhere), None);
        assert_eq!(missing.len(), 14);
    }
}
