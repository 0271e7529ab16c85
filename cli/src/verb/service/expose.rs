//! `ecsr service create --expose`: everything between a listener's port and the containers of a service, made in one go.
//!
//! Whatever is there already and fits is used, so the same command makes the same thing however often it is given; what
//! this call made is taken back when the service cannot be created. What is made carries the tag `ecsr:service`, by which
//! `service delete` knows it again.

mod made;
mod plan;
mod remove;

use std::time::Duration;

use ecsr_balancer::model::INTERVAL_MILLISECONDS;
use serde_json::{Map, Value, json};

use self::made::Made;
use self::plan::{Kind, Mapping, Owner, Step};
pub(super) use self::remove::Leftovers;
use crate::ecs::Operation;
use crate::elb::{Conditions, Elb, NewLoadBalancer, NewTargetGroup, Then};
use crate::error::{Failure, Kind as FailureKind, not_found, usage};
use crate::output::text::text;
use crate::session::Session;

const HEADING: &str = "Load balancing";

/// Milliseconds between two health checks by a balancer of our own: a started task serves at once, and is to be seen to.
const HEALTH_INTERVAL_MILLISECONDS: u32 = 200;

/// Flags of `--expose` and its kin.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExposeArgs {
    /// Make the service reachable: port 80 of a load balancer leads to port 8080 of the containers; repeatable
    #[arg(
        long,
        value_name = "[tcp://]PORT:[CONTAINER:]PORT",
        value_parser = Mapping::parse,
        help_heading = HEADING
    )]
    expose: Vec<Mapping>,

    /// The load balancer to use, made when it is not there; default: one of the cluster's own, ecsr-CLUSTER
    #[arg(long, value_name = "NAME", requires = "expose", help_heading = HEADING)]
    lb: Option<String>,

    /// Only requests for this host, `*` and `?` allowed; repeatable
    #[arg(long = "host", value_name = "PATTERN", requires = "expose", help_heading = HEADING)]
    hosts: Vec<String>,

    /// Only requests for this path, `*` and `?` allowed; repeatable
    #[arg(long = "path", value_name = "PATTERN", requires = "expose", help_heading = HEADING)]
    paths: Vec<String>,

    /// What a container answers 200 to when it can serve
    #[arg(long, value_name = "PATH", default_value = "/", requires = "expose", help_heading = HEADING)]
    health_check_path: String,

    /// How long requests in flight may go on when a task is to be stopped: 30s, 5m
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = crate::verb::duration,
        requires = "expose",
        help_heading = HEADING
    )]
    deregistration_delay: Duration,
}

/// What `--expose` made, and where the service is reached now.
#[derive(Debug)]
pub(super) struct Exposure {
    elb: Elb,
    made: Vec<Made>,
    pub(super) urls: Vec<String>,
}

/// A mapping with all that has to be known to make it.
struct Wanted<'a> {
    mapping: &'a Mapping,
    container: String,
    target_type: &'static str,
    owner: &'a Owner,
    args: &'a ExposeArgs,
}

impl ExposeArgs {
    fn conditions(&self) -> Conditions {
        Conditions { hosts: self.hosts.clone(), paths: self.paths.clone() }
    }

    /// Refuses what no load balancer can do.
    fn check(&self) -> Result<(), Failure> {
        let kinds = |kind: Kind| self.expose.iter().any(|mapping| mapping.kind == kind);
        if self.lb.is_some() && kinds(Kind::Http) && kinds(Kind::Tcp) {
            return Err(usage("one load balancer does not speak both HTTP and TCP")
                .hint("leave --lb out, and each gets one of its own"));
        }
        if !self.conditions().is_empty() && kinds(Kind::Tcp) {
            return Err(usage("--host and --path are for HTTP; a TCP port leads to one service"));
        }
        Ok(())
    }
}

/// Makes what `args` ask for, for the service that `request` creates, and adds it to `request`.
pub(super) async fn make(
    session: &Session,
    args: &ExposeArgs,
    request: &mut Map<String, Value>,
) -> Result<Option<Exposure>, Failure> {
    if args.expose.is_empty() {
        return Ok(None);
    }
    args.check()?;
    let member = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
    let owner = Owner::new(member("cluster"), member("serviceName"));
    let asked = json!({"taskDefinition": member("taskDefinition")});
    let definition = session.call(Operation::DescribeTaskDefinition, asked).await?;
    let definition = &definition["taskDefinition"];
    let elb = session.elb().await?;
    let target_type = plan::target_type(definition, elb.is_own());
    // All of them first, so that nothing is made when one is wrong.
    let containers: Vec<String> =
        args.expose.iter().map(|mapping| mapping.container_of(definition)).collect::<Result<_, _>>()?;
    let mut exposure = Exposure { elb, made: Vec::new(), urls: Vec::new() };
    let mut entries = Vec::new();
    for (mapping, container) in args.expose.iter().zip(containers) {
        let wanted = Wanted { mapping, container, target_type, owner: &owner, args };
        match exposure.add(&wanted).await {
            Ok(entry) => entries.push(entry),
            Err(failure) => {
                exposure.undo().await;
                return Err(failure);
            }
        }
    }
    if let Value::Array(all) = request.entry("loadBalancers").or_insert_with(|| json!([])) {
        all.extend(entries);
    }
    Ok(Some(exposure))
}

impl Exposure {
    /// Takes back what this call made, the last first. What cannot be taken back is said.
    pub(super) async fn undo(self) {
        for made in self.made.into_iter().rev() {
            made.undo(&self.elb).await;
        }
    }

    /// Makes one mapping; answers the service's entry for it.
    async fn add(&mut self, wanted: &Wanted<'_>) -> Result<Value, Failure> {
        let balancer = self.balancer(wanted).await?;
        let group = self.group(wanted, &balancer).await?;
        self.lead(wanted, &balancer, &group).await?;
        self.urls.push(plan::url(&balancer, wanted.mapping, &wanted.args.conditions()));
        Ok(json!({
            "targetGroupArn": group,
            "containerName": wanted.container,
            "containerPort": wanted.mapping.container_port,
        }))
    }

    async fn balancer(&mut self, wanted: &Wanted<'_>) -> Result<Value, Failure> {
        let kind = wanted.mapping.kind;
        let name = wanted.args.lb.clone().unwrap_or_else(|| wanted.owner.load_balancer(kind));
        if let Some(found) = self.elb.load_balancer(&name).await? {
            let is = text(&found, "Type");
            if is != kind.load_balancer() {
                let message = format!("{name} is of type {is}, not {}", kind.load_balancer());
                return Err(Failure::new(FailureKind::Failed, message).hint("choose another with --lb"));
            }
            return Ok(found);
        }
        if !self.elb.is_own() {
            return Err(not_found(format!("no load balancer {name}")).hint(format!(
                "Amazon's need subnets: `ecsr lb create {name} --type {} --subnet ID --subnet ID` first",
                kind.load_balancer()
            )));
        }
        let new = NewLoadBalancer {
            name,
            kind: kind.load_balancer().to_owned(),
            tags: wanted.owner.tags(),
            ..NewLoadBalancer::default()
        };
        let made = self.elb.create_load_balancer(&new).await?;
        self.made.push(Made::LoadBalancer(text(&made, "LoadBalancerArn")));
        Ok(made)
    }

    /// The ARN of the mapping's target group, which has the settings that were asked for.
    async fn group(&mut self, wanted: &Wanted<'_>, balancer: &Value) -> Result<String, Failure> {
        let kind = wanted.mapping.kind;
        let path = (kind == Kind::Http).then(|| wanted.args.health_check_path.clone());
        let name = wanted.owner.target_group(wanted.mapping.listener_port);
        let arn = if let Some(found) = self.elb.target_group(&name).await? {
            let arn = text(&found, "TargetGroupArn");
            let tags = self.elb.tags(std::slice::from_ref(&arn)).await?;
            wanted.owner.check_group(&name, &found, tags.get(&arn), kind, wanted.target_type)?;
            if let Some(path) = &path {
                self.elb.set_health_check_path(&arn, path).await?;
            }
            arn
        } else {
            let vpc = text(balancer, "VpcId");
            let new = NewTargetGroup {
                name,
                protocol: kind.protocol(),
                port: wanted.mapping.container_port,
                target_type: wanted.target_type,
                vpc: (!vpc.is_empty()).then_some(vpc),
                health_check_path: path,
                tags: wanted.owner.tags(),
            };
            let arn = text(&self.elb.create_target_group(&new).await?, "TargetGroupArn");
            self.made.push(Made::TargetGroup(arn.clone()));
            arn
        };
        self.set_attributes(&arn, wanted.args.deregistration_delay).await?;
        Ok(arn)
    }

    async fn set_attributes(&self, group: &str, delay: Duration) -> Result<(), Failure> {
        let delay = ("deregistration_delay.timeout_seconds", delay.as_secs().to_string());
        self.elb.set_attributes(group, &[delay]).await?;
        if self.elb.is_own() {
            let often = (INTERVAL_MILLISECONDS, HEALTH_INTERVAL_MILLISECONDS.to_string());
            match self.elb.set_attributes(group, &[often]).await {
                // Another's, which knows whole seconds alone; those were set when the group was made.
                Err(error) if error.code().is_some() => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Makes the listener's port lead to the group.
    async fn lead(&mut self, wanted: &Wanted<'_>, balancer: &Value, group: &str) -> Result<(), Failure> {
        let arn = text(balancer, "LoadBalancerArn");
        let listeners = self.elb.listeners(&arn).await?;
        let port = wanted.mapping.listener_port;
        let conditions = wanted.args.conditions();
        let tags = wanted.owner.tags();
        let found = listeners.iter().find(|listener| listener["Port"] == port);
        let Some(listener) = found else {
            let default =
                if conditions.is_empty() { Then::Forward(group.to_owned()) } else { Then::NotFound };
            let protocol = (wanted.mapping.kind.protocol(), port);
            let made = self.elb.create_listener(&arn, protocol, &default, &tags).await?;
            let listener = text(&made, "ListenerArn");
            self.made.push(Made::Listener(listener.clone()));
            if !conditions.is_empty() {
                self.add_rule(&listener, plan::PRIORITY_FIRST, &conditions, group, wanted.owner).await?;
            }
            return Ok(());
        };
        let listener_arn = text(listener, "ListenerArn");
        let rules = self.elb.rules(&listener_arn).await?;
        match plan::step(listener, &rules, wanted.mapping, &conditions, group)? {
            Step::Nothing => Ok(()),
            Step::TakeDefault => {
                self.elb.set_default(&listener_arn, &Then::Forward(group.to_owned())).await?;
                self.made.push(Made::Default(listener_arn));
                Ok(())
            }
            Step::AddRule { priority } => {
                self.add_rule(&listener_arn, priority, &conditions, group, wanted.owner).await
            }
        }
    }

    async fn add_rule(
        &mut self,
        listener: &str,
        priority: i32,
        conditions: &Conditions,
        group: &str,
        owner: &Owner,
    ) -> Result<(), Failure> {
        let then = Then::Forward(group.to_owned());
        let made = self.elb.create_rule(listener, priority, conditions, &then, &owner.tags()).await?;
        self.made.push(Made::Rule(text(&made, "RuleArn")));
        Ok(())
    }
}
