//! What `--expose` made for a service is removed when the service is deleted: its rules, its target groups, and listeners
//! that lead nowhere then. The load balancer stays, with whatever else it has.

use serde_json::Value;

use super::plan::{self, Owner, SERVICE_TAG};
use crate::ecs::CallError;
use crate::elb::{Elb, Then};
use crate::error::Failure;
use crate::output::note;
use crate::output::text::{list, text};
use crate::refs::Located;
use crate::session::{SERVICES, Session};

/// Target groups that were made for a service.
#[derive(Debug)]
pub(crate) struct Leftovers {
    elb: Elb,
    owner: Owner,
    groups: Vec<String>,
}

impl Leftovers {
    /// Those of a service that still is; `None` when there are none, or none of `--expose`.
    pub(crate) async fn of(session: &Session, located: &Located) -> Result<Option<Self>, Failure> {
        let service = session.describe_one(SERVICES, &located.cluster, &located.name).await?;
        let named = list(&service, "loadBalancers").iter().map(|entry| text(entry, "targetGroupArn"));
        let named: Vec<String> = named.filter(|arn| !arn.is_empty()).collect();
        if named.is_empty() {
            return Ok(None);
        }
        let owner = Owner::new(&text(&service, "clusterArn"), &text(&service, "serviceName"));
        match found(session, &owner, named).await {
            Ok((_, groups)) if groups.is_empty() => Ok(None),
            Ok((elb, groups)) => Ok(Some(Self { elb, owner, groups })),
            // A service is deleted all the same where its balancer is gone, or not to be changed by this caller.
            Err(failure) => {
                note(&format!("the load balancer is left as it is: {failure}"));
                Ok(None)
            }
        }
    }

    /// Removes them, once the service has no task any more.
    pub(crate) async fn remove(&self) -> Result<(), Failure> {
        for arn in &self.groups {
            if let Some(group) = self.elb.target_group(arn).await? {
                self.remove_group(&group).await?;
            }
        }
        Ok(())
    }

    async fn remove_group(&self, group: &Value) -> Result<(), CallError> {
        let arn = text(group, "TargetGroupArn");
        for balancer in list(group, "LoadBalancerArns").iter().filter_map(Value::as_str) {
            for listener in self.elb.listeners(balancer).await? {
                self.clear_listener(&text(&listener, "ListenerArn"), &arn).await?;
            }
        }
        match self.elb.delete_target_group(&arn).await {
            Err(error) if error.code() == Some("ResourceInUse") => {
                note(&format!("{arn} stays: {error}"));
                Ok(())
            }
            done => done,
        }
    }

    /// Removes this owner's rules for `group` from a listener, and the listener if it was made by `--expose` and leads
    /// nowhere then. What others made is theirs.
    async fn clear_listener(&self, listener: &str, group: &str) -> Result<(), CallError> {
        let rules = self.elb.rules(listener).await?;
        let arns: Vec<String> = rules.iter().map(|rule| text(rule, "RuleArn")).collect();
        let tags = self.elb.tags(&[arns, vec![listener.to_owned()]].concat()).await?;
        let is_ours = |rule: &Value| {
            let tag = tags.get(&text(rule, "RuleArn")).map(|tags| &tags[SERVICE_TAG]);
            plan::leads_to(rule, group) && tag.is_some_and(|tag| *tag == self.owner.tag())
        };
        let (defaults, rules): (Vec<&Value>, Vec<&Value>) =
            rules.iter().partition(|rule| rule["IsDefault"] == true);
        let (ours, others): (Vec<&Value>, Vec<&Value>) = rules.iter().partition(|rule| is_ours(rule));
        for rule in ours {
            self.elb.delete_rule(&text(rule, "RuleArn")).await?;
        }
        if !tags.get(listener).is_some_and(|tags| tags[SERVICE_TAG].is_string()) {
            return Ok(());
        }
        let is_default = defaults.iter().any(|rule| plan::leads_to(rule, group));
        let leads_nowhere = is_default || defaults.iter().all(|rule| plan::answers_404(rule));
        if others.is_empty() && leads_nowhere {
            self.elb.delete_listener(listener).await
        } else if is_default {
            self.elb.set_default(listener, &Then::NotFound).await
        } else {
            Ok(())
        }
    }
}

/// The load balancers, and of target groups those that were made for `owner`.
async fn found(session: &Session, owner: &Owner, named: Vec<String>) -> Result<(Elb, Vec<String>), Failure> {
    let elb = session.elb().await?;
    let tags = match elb.tags(&named).await {
        // One of them is gone; there is nothing left to clear up behind it that could be found.
        Err(error) if error.code() == Some("TargetGroupNotFound") => return Ok((elb, Vec::new())),
        answer => answer?,
    };
    let is_owners = |arn: &String| tags.get(arn).is_some_and(|tags| tags[SERVICE_TAG] == owner.tag());
    Ok((elb, named.into_iter().filter(is_owners).collect()))
}
