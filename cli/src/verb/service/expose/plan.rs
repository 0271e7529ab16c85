//! What `--expose` decides before it does anything: what things are called, which container is meant, and what has to
//! happen at a listener that is there already.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::elb::{Conditions, Tags};
use crate::error::{Failure, Kind as FailureKind, usage};
use crate::output::text::{last_part, list, short, text};
use crate::verb::lb::describe::group_name;

/// The tag on everything that is made for a service: `CLUSTER/SERVICE`.
pub(super) const SERVICE_TAG: &str = "ecsr:service";
/// The priority of a listener's first rule.
pub(super) const PRIORITY_FIRST: i32 = 1;
/// Longest name of a load balancer and of a target group.
const NAME_MAX: usize = 32;
/// Hexadecimal digits that tell names apart that were cut or rewritten.
const DIGEST_DIGITS: usize = 8;

/// What a port of a load balancer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Tcp,
}

impl Kind {
    /// The type of the load balancers that speak it.
    pub(super) fn load_balancer(self) -> &'static str {
        match self {
            Self::Http => "application",
            Self::Tcp => "network",
        }
    }

    /// Its name in ELBv2.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
        }
    }
}

/// A port of a load balancer, and the container's port that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) kind: Kind,
    pub(super) listener_port: u16,
    pub(super) container: Option<String>,
    pub(super) container_port: u16,
}

impl Mapping {
    /// `80:8080`, `80:web:8080`, `tcp://5432:5432`, `5432:5432/tcp`.
    pub(super) fn parse(given: &str) -> Result<Self, String> {
        let malformed = || "expected PORT:[CONTAINER:]PORT, or tcp://PORT:[CONTAINER:]PORT".to_owned();
        let (scheme, ports) = match given.split_once("://") {
            Some((scheme, ports)) => (Some(scheme), ports),
            None => match given.split_once('/') {
                Some((ports, scheme)) => (Some(scheme), ports),
                None => (None, given),
            },
        };
        let kind = match scheme {
            None | Some("http") => Kind::Http,
            Some("tcp") => Kind::Tcp,
            Some(other) => return Err(format!("unknown protocol {other:?}; it is http or tcp")),
        };
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(malformed);
        let (listener, container, port_in_container) = match ports.split(':').collect::<Vec<_>>()[..] {
            [listener, port] => (listener, None, port),
            [listener, container, port] if !container.is_empty() => (listener, Some(container), port),
            _ => return Err(malformed()),
        };
        Ok(Self {
            kind,
            listener_port: port(listener)?,
            container: container.map(str::to_owned),
            container_port: port(port_in_container)?,
        })
    }

    /// The container of a task definition that this is about.
    pub(super) fn container_of(&self, definition: &Value) -> Result<String, Failure> {
        let maps = |container: &&Value| {
            let is_named = self.container.as_ref().is_none_or(|name| container["name"] == **name);
            let mut ports = list(container, "portMappings").iter();
            is_named && ports.any(|mapping| mapping["containerPort"] == self.container_port)
        };
        let found: Vec<String> = list(definition, "containerDefinitions")
            .iter()
            .filter(maps)
            .map(|container| text(container, "name"))
            .collect();
        let family = short(definition, "taskDefinitionArn");
        let port = self.container_port;
        match &found[..] {
            [one] => Ok(one.clone()),
            [] => {
                let which =
                    self.container.as_ref().map_or("no container".to_owned(), |name| format!("no {name}"));
                Err(usage(format!("{which} of {family} maps port {port}"))
                    .hint("`portMappings` of the task definition say which ports can be exposed"))
            }
            several => {
                Err(usage(format!("several containers of {family} map port {port}: {}", several.join(", ")))
                    .hint(format!("name one: --expose {}:{}:{port}", self.listener_port, several[0])))
            }
        }
    }
}

/// The service that things are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    cluster: String,
    service: String,
}

impl Owner {
    /// Of names or ARNs.
    pub(super) fn new(cluster: &str, service: &str) -> Self {
        Self { cluster: last_part(cluster).to_owned(), service: last_part(service).to_owned() }
    }

    /// The value of [`SERVICE_TAG`].
    pub(super) fn tag(&self) -> String {
        format!("{}/{}", self.cluster, self.service)
    }

    pub(super) fn tags(&self) -> Tags {
        vec![(SERVICE_TAG.to_owned(), self.tag())]
    }

    /// The name of the cluster's load balancer of that kind.
    pub(super) fn load_balancer(&self, kind: Kind) -> String {
        match kind {
            Kind::Http => fitted(&format!("ecsr-{}", self.cluster)),
            Kind::Tcp => fitted(&format!("ecsr-{}-tcp", self.cluster)),
        }
    }

    /// The name of the service's target group behind that port.
    pub(super) fn target_group(&self, listener_port: u16) -> String {
        fitted(&format!("{}-{}-{listener_port}", self.cluster, self.service))
    }

    /// Refuses a target group of the right name that is another's or another thing.
    pub(super) fn check_group(
        &self,
        name: &str,
        group: &Value,
        tags: Option<&Value>,
        kind: Kind,
        target_type: &str,
    ) -> Result<(), Failure> {
        let failure = |text: String| Err(Failure::new(FailureKind::Failed, text));
        if tags.is_none_or(|tags| tags[SERVICE_TAG] != self.tag()) {
            return failure(format!("the target group {name} exists and is not of service {}", self.tag()));
        }
        if group["Protocol"] != kind.protocol() || group["TargetType"] != target_type {
            let is = format!("{} with {} targets", text(group, "Protocol"), text(group, "TargetType"));
            return failure(format!("the target group {name} exists and is {is}"));
        }
        Ok(())
    }
}

/// `name` as a load balancer's or a target group's may be. One that has to be changed for that gets a digest of what it
/// was, so that two never become one.
fn fitted(name: &str) -> String {
    let clean: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let trimmed = clean.trim_matches('-');
    if trimmed == name && name.len() <= NAME_MAX {
        return name.to_owned();
    }
    let digest = hex::encode(Sha256::digest(name.as_bytes()));
    let kept: String = trimmed.chars().take(NAME_MAX - DIGEST_DIGITS - 1).collect();
    format!("{}-{}", kept.trim_end_matches('-'), &digest[..DIGEST_DIGITS])
}

/// What the targets of a service are: tasks with an address of their own, and all that a balancer beside ecsr leads to,
/// are reached by address; Amazon's reach ports of an instance by its id.
pub(super) fn target_type(definition: &Value, own: bool) -> &'static str {
    if own || definition["networkMode"] == "awsvpc" { "ip" } else { "instance" }
}

/// What is to be done at a listener so that it leads to a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It does.
    Nothing,
    /// It becomes the default action.
    TakeDefault,
    /// It is for some requests only.
    AddRule { priority: i32 },
}

/// Decides what to do at `listener` with its `rules`, so that what meets `conditions` goes to `group`. What leads
/// elsewhere already is never taken away.
pub(super) fn step(
    listener: &Value,
    rules: &[Value],
    mapping: &Mapping,
    conditions: &Conditions,
    group: &str,
) -> Result<Step, Failure> {
    let port = mapping.listener_port;
    let speaks = text(listener, "Protocol");
    if speaks != mapping.kind.protocol() {
        let message =
            format!("port {port} of the load balancer speaks {speaks}, not {}", mapping.kind.protocol());
        return Err(Failure::new(FailureKind::Failed, message).hint("choose another port"));
    }
    let (same, hint) = if conditions.is_empty() {
        let default = rules.iter().find(|rule| rule["IsDefault"] == true);
        (default.filter(|rule| !answers_404(rule)), "share the port with --host or --path, or choose another")
    } else {
        let same = rules.iter().find(|rule| asks_for(rule, conditions));
        (same, "choose another --host or --path, or another port")
    };
    match same {
        Some(rule) if leads_to(rule, group) => Ok(Step::Nothing),
        Some(rule) => {
            let taken = format!("port {port} of the load balancer {} already", does(rule));
            Err(Failure::new(FailureKind::Failed, taken).hint(hint))
        }
        None if conditions.is_empty() => Ok(Step::TakeDefault),
        None => {
            let taken = rules.iter().filter_map(|rule| text(rule, "Priority").parse::<i32>().ok());
            Ok(Step::AddRule { priority: taken.max().map_or(PRIORITY_FIRST, |last| last + 1) })
        }
    }
}

/// Whether a rule forwards to that group, to it alone or among others.
pub(super) fn leads_to(rule: &Value, group: &str) -> bool {
    groups(rule).any(|arn| arn == group)
}

/// Whether it is the default of a listener that was made for other rules.
pub(super) fn answers_404(rule: &Value) -> bool {
    let mut actions = list(rule, "Actions").iter();
    actions.any(|action| text(action, "FixedResponseConfig.StatusCode") == "404")
}

fn groups(rule: &Value) -> impl Iterator<Item = String> {
    list(rule, "Actions").iter().flat_map(|action| {
        let configured = list(action, "ForwardConfig.TargetGroups").iter();
        let configured = configured.map(|group| text(group, "TargetGroupArn"));
        configured.chain([text(action, "TargetGroupArn")]).filter(|arn| !arn.is_empty())
    })
}

fn does(rule: &Value) -> String {
    match groups(rule).next() {
        Some(arn) => format!("leads to target group {}", group_name(&arn)),
        None => "does something else".to_owned(),
    }
}

/// Whether a rule is for exactly these requests.
fn asks_for(rule: &Value, conditions: &Conditions) -> bool {
    let sorted = |values: &[String]| {
        let mut values = values.to_vec();
        values.sort();
        values
    };
    let has = |field: &str| {
        let found = list(rule, "Conditions").iter().find(|condition| condition["Field"] == field);
        let values: Vec<String> = found
            .map(|found| list(found, "Values"))
            .unwrap_or_default()
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        sorted(&values)
    };
    let fields = usize::from(!conditions.hosts.is_empty()) + usize::from(!conditions.paths.is_empty());
    list(rule, "Conditions").len() == fields
        && has("host-header") == sorted(&conditions.hosts)
        && has("path-pattern") == sorted(&conditions.paths)
}

/// Where the service is reached.
pub(super) fn url(balancer: &Value, mapping: &Mapping, conditions: &Conditions) -> String {
    let port = mapping.listener_port;
    let name = text(balancer, "DNSName");
    // A pattern is no name; the load balancer's own is reached with a header.
    let host = conditions.hosts.first();
    let shown = host.map_or_else(String::new, |host| format!("   (Host: {host})"));
    match (mapping.kind, port) {
        (Kind::Tcp, _) => format!("tcp://{name}:{port}"),
        (Kind::Http, 80) => format!("http://{name}{}{shown}", path(conditions)),
        (Kind::Http, _) => format!("http://{name}:{port}{}{shown}", path(conditions)),
    }
}

/// The part of the first path pattern that is no pattern.
fn path(conditions: &Conditions) -> &str {
    let pattern = conditions.paths.first().map_or("/", String::as_str);
    pattern.split(['*', '?']).next().unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WEB: &str = "arn:aws:elasticloadbalancing:r:a:targetgroup/web/0123";
    const API: &str = "arn:aws:elasticloadbalancing:r:a:targetgroup/api/4567";

    fn mapping(text: &str) -> Mapping {
        Mapping::parse(text).expect(text)
    }

    #[test]
    fn mappings_are_written_as_one_word() {
        fn check(text: &str, expected: Option<(Kind, u16, Option<&str>, u16)>) {
            let expected = expected.map(|(kind, listener_port, container, container_port)| Mapping {
                kind,
                listener_port,
                container: container.map(str::to_owned),
                container_port,
            });
            assert_eq!(Mapping::parse(text).ok(), expected, "{text}");
        }
        check("80:8080", Some((Kind::Http, 80, None, 8080)));
        check("80:web:8080", Some((Kind::Http, 80, Some("web"), 8080)));
        check("http://80:8080", Some((Kind::Http, 80, None, 8080)));
        check("tcp://5432:5432", Some((Kind::Tcp, 5432, None, 5432)));
        check("5432:db:5432/tcp", Some((Kind::Tcp, 5432, Some("db"), 5432)));
        for wrong in ["80", "80:", ":80", "0:80", "80:0", "80::80", "80:a:b:80", "udp://1:1", "80:65536", ""]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn the_container_is_the_one_that_maps_the_port() {
        let definition = json!({
            "taskDefinitionArn": "arn:aws:ecs:r:a:task-definition/shop:3",
            "containerDefinitions": [
                {"name": "web", "portMappings": [{"containerPort": 8080}, {"containerPort": 9000}]},
                {"name": "metrics", "portMappings": [{"containerPort": 9000}]},
                {"name": "quiet"},
            ],
        });
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = mapping(text).container_of(&definition).map_err(|failure| failure.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("80:8080", Ok("web"));
        check("80:metrics:9000", Ok("metrics"));
        check("80:9000", Err("several containers of shop:3 map port 9000: web, metrics"));
        check("80:7", Err("no container of shop:3 maps port 7"));
        check("80:quiet:8080", Err("no quiet of shop:3 maps port 8080"));
    }

    #[test]
    fn names_fit_and_stay_apart() {
        fn check(name: &str, expected: &str) {
            assert_eq!(fitted(name), expected);
            assert!(fitted(name).len() <= NAME_MAX, "{name}");
        }
        check("ecsr-default", "ecsr-default");
        check("default-web-80", "default-web-80");
        check("default-my_web-80", &format!("default-my-web-80-{}", digest("default-my_web-80")));
        let long = "production-europe-a-very-long-service-80";
        check(long, &format!("production-europe-a-ver-{}", digest(long)));
        assert_ne!(fitted("a_b"), fitted("a.b"));
    }

    fn digest(name: &str) -> String {
        hex::encode(Sha256::digest(name.as_bytes()))[..DIGEST_DIGITS].to_owned()
    }

    fn forwards(group: &str) -> Value {
        json!([{"Type": "forward", "TargetGroupArn": group}])
    }

    fn default(actions: &Value) -> Value {
        json!({"Priority": "default", "IsDefault": true, "Actions": actions})
    }

    fn not_found() -> Value {
        json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}])
    }

    fn on_path(path: &str, group: &str) -> Value {
        json!({"Priority": "7", "IsDefault": false, "Actions": forwards(group),
               "Conditions": [{"Field": "path-pattern", "Values": [path]}]})
    }

    fn check_step(rules: &[Value], path: Option<&str>, expected: Result<Step, &str>) {
        let listener = json!({"Protocol": "HTTP", "Port": 80});
        let conditions = Conditions { hosts: vec![], paths: path.into_iter().map(str::to_owned).collect() };
        let found = step(&listener, rules, &mapping("80:8080"), &conditions, WEB);
        let found = found.map_err(|failure| failure.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{rules:?}");
    }

    #[test]
    fn a_listener_that_is_there_is_shared_and_never_taken_away() {
        check_step(&[default(&forwards(WEB))], None, Ok(Step::Nothing));
        check_step(&[default(&not_found())], None, Ok(Step::TakeDefault));
        let taken = "port 80 of the load balancer leads to target group api already";
        check_step(&[default(&forwards(API))], None, Err(taken));
        check_step(&[default(&forwards(API))], Some("/a/*"), Ok(Step::AddRule { priority: 1 }));
        let rules = [on_path("/a/*", API), default(&not_found())];
        check_step(&rules, Some("/b/*"), Ok(Step::AddRule { priority: 8 }));
        check_step(&rules, Some("/a/*"), Err(taken));
        check_step(&[on_path("/a/*", WEB), default(&not_found())], Some("/a/*"), Ok(Step::Nothing));
        let redirects = json!([{"Type": "redirect"}]);
        check_step(
            &[default(&redirects)],
            None,
            Err("port 80 of the load balancer does something else already"),
        );
    }

    #[test]
    fn a_listener_of_another_protocol_is_not_shared() {
        let listener = json!({"Protocol": "HTTPS", "Port": 80});
        let failure = step(&listener, &[], &mapping("80:8080"), &Conditions::default(), WEB).unwrap_err();
        assert_eq!(failure.to_string(), "port 80 of the load balancer speaks HTTPS, not HTTP");
    }

    #[test]
    fn urls_lead_to_the_service() {
        let check = |ports: &str, host: Option<&str>, path: Option<&str>, expected: &str| {
            let many = |one: Option<&str>| one.into_iter().map(str::to_owned).collect();
            let conditions = Conditions { hosts: many(host), paths: many(path) };
            assert_eq!(url(&json!({"DNSName": "localhost"}), &mapping(ports), &conditions), expected);
        };
        check("80:8080", None, None, "http://localhost/");
        check("8000:8080", None, Some("/api/*"), "http://localhost:8000/api/");
        check("80:8080", Some("shop.example"), None, "http://localhost/   (Host: shop.example)");
        check("tcp://5432:5432", None, None, "tcp://localhost:5432");
    }

    #[test]
    fn a_group_of_that_name_is_used_only_when_it_is_the_service_s() {
        let owner = Owner::new("arn:aws:ecs:r:a:cluster/default", "web");
        assert_eq!(owner.tag(), "default/web");
        let group = json!({"Protocol": "HTTP", "TargetType": "ip"});
        let tags = json!({SERVICE_TAG: "default/web"});
        let check = |tags: Option<&Value>, kind: Kind| owner.check_group("g", &group, tags, kind, "ip");
        assert!(check(Some(&tags), Kind::Http).is_ok());
        assert!(check(None, Kind::Http).is_err());
        assert!(check(Some(&json!({SERVICE_TAG: "default/api"})), Kind::Http).is_err());
        assert!(check(Some(&tags), Kind::Tcp).is_err());
    }

    #[test]
    fn targets_are_instances_only_at_amazon_s() {
        assert_eq!(target_type(&json!({"networkMode": "bridge"}), true), "ip");
        assert_eq!(target_type(&json!({}), false), "instance");
        assert_eq!(target_type(&json!({"networkMode": "awsvpc"}), false), "ip");
    }
}
