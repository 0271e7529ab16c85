//! `ecsr task-definition` (`ecsr td`): register from a file, list, describe and deregister.
//!
//! A file is either what `RegisterTaskDefinition` takes, or what `DescribeTaskDefinition` answered (of ecsr
//! or of Amazon), so that `ecsr td describe web -o json`, an editor and `ecsr td register` are a way to
//! change one.

use ecsr_api::ecs::RegisterTaskDefinitionRequest;
use serde_json::{Map, Value, json};

use crate::ecs::Operation;
use crate::error::Failure;
use crate::input;
use crate::output::show;
use crate::output::table::{self, Column, column};
use crate::output::text::{Page, iso, last_part, list, pairs, short, tags, text};
use crate::session::Session;

/// Register, list, describe and deregister task definitions
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Register a new revision from a JSON or YAML file
    #[command(after_help = REGISTER_EXAMPLES)]
    Register(RegisterArgs),
    /// List revisions, or families
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a task definition
    Describe(NameArgs),
    /// Deregister revisions: what runs goes on, nothing new starts from them
    #[command(visible_alias = "rm")]
    Deregister(NamesArgs),
}

const REGISTER_EXAMPLES: &str = "\
Examples:
  ecsr td register web.yaml
  ecsr td register - <<'EOF'
  family: web
  containerDefinitions:
  - name: web
    image: busybox
    command: [httpd, -f, -p, \"80\"]
    memory: 16
    portMappings: [{containerPort: 80}]
  EOF";

/// Flags of `td register`.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArgs {
    /// A JSON or YAML file; `-` is stdin
    file: String,
    /// Register under this family instead of the file's
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// A tag, repeatable; replaces the file's tags
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = input::key_value)]
    tags: Vec<(String, String)>,
}

/// Flags of `td list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only revisions of this family
    family: Option<String>,
    /// Only revisions in this state
    #[arg(
        long,
        value_name = "STATUS",
        default_value = "ACTIVE",
        value_parser = ["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"],
        ignore_case = true
    )]
    status: String,
    /// List families instead of revisions
    #[arg(long)]
    families: bool,
}

/// One task definition.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// Family (its newest revision), family:revision, or ARN
    task_definition: String,
}

/// Several revisions.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    /// family:revision or ARN
    #[arg(required = true)]
    task_definitions: Vec<String>,
}

/// Members of the description that are facts about a revision, not input to one.
const OUTPUT_ONLY: [&str; 9] = [
    "compatibilities",
    "deleteRequestedAt",
    "deregisteredAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
    "taskDefinitionArn",
];

const REVISIONS: [Column; 2] = [
    column("TASK-DEFINITION", |arn| last_part(arn.as_str().unwrap_or_default()).to_owned()),
    column("ARN", |arn| arn.as_str().unwrap_or_default().to_owned()),
];

const FAMILIES: [Column; 1] = [column("FAMILY", |family| family.as_str().unwrap_or_default().to_owned())];

/// Runs the verb.
pub(crate) async fn run(session: &Session, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Register(args) => register(session, args).await,
        Verb::List(args) if args.families => list_families(session, args).await,
        Verb::List(args) => list_revisions(session, args).await,
        Verb::Describe(args) => describe(session, args).await,
        Verb::Deregister(args) => deregister(session, args).await,
    }
}

async fn register(session: &Session, args: RegisterArgs) -> anyhow::Result<()> {
    let request = registration(input::read_object(&args.file)?, args.family, &args.tags)?;
    let answer = session.call(Operation::RegisterTaskDefinition, Value::Object(request)).await?;
    show(session.format(), &answer, |answer| {
        format!("registered {}", short(answer, "taskDefinition.taskDefinitionArn"))
    })
}

/// The request that a file and the flags beside it make.
fn registration(
    file: Map<String, Value>,
    family: Option<String>,
    tags: &[(String, String)],
) -> Result<Map<String, Value>, Failure> {
    let mut request = without_facts(file);
    if let Some(family) = family {
        request.insert("family".to_owned(), json!(family));
    }
    if !tags.is_empty() {
        request.insert("tags".to_owned(), input::tags(tags));
    }
    input::refuse_unknown::<RegisterTaskDefinitionRequest>(&request)?;
    Ok(request)
}

/// Unwraps a description, and drops what only a description has.
fn without_facts(mut file: Map<String, Value>) -> Map<String, Value> {
    let tags = file.remove("tags");
    let mut members = match file.remove("taskDefinition") {
        Some(Value::Object(described)) => described,
        Some(other) => {
            file.insert("taskDefinition".to_owned(), other);
            file
        }
        None => file,
    };
    for name in OUTPUT_ONLY {
        members.remove(name);
    }
    // ECS refuses an empty list of tags, which is what a description of an untagged one shows.
    if let Some(tags) = tags.filter(|tags| tags.as_array().is_none_or(|tags| !tags.is_empty())) {
        members.insert("tags".to_owned(), tags);
    }
    members
}

async fn list_revisions(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let mut request = json!({"status": args.status.to_uppercase()});
    if let Some(family) = args.family {
        request["familyPrefix"] = json!(family);
    }
    let arns = session.list(Operation::ListTaskDefinitions, request, "taskDefinitionArns").await?;
    show(session.format(), &json!({ "taskDefinitionArns": arns }), |answer| {
        table::render(&REVISIONS, list(answer, "taskDefinitionArns"))
    })
}

async fn list_families(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let mut request = json!({"status": args.status.to_uppercase()});
    if let Some(family) = args.family {
        request["familyPrefix"] = json!(family);
    }
    let families = session.list(Operation::ListTaskDefinitionFamilies, request, "families").await?;
    show(session.format(), &json!({ "families": families }), |answer| {
        table::render(&FAMILIES, list(answer, "families"))
    })
}

async fn describe(session: &Session, args: NameArgs) -> anyhow::Result<()> {
    let request = json!({"taskDefinition": args.task_definition, "include": ["TAGS"]});
    let answer = session.call(Operation::DescribeTaskDefinition, request).await?;
    show(session.format(), &answer, page)
}

const CONTAINERS: [Column; 7] = [
    column("NAME", |row| text(row, "name")),
    column("IMAGE", |row| text(row, "image")),
    column("CPU", |row| text(row, "cpu")),
    column("MEMORY", |row| text(row, "memory")),
    column("RESERVATION", |row| text(row, "memoryReservation")),
    column("ESSENTIAL", |row| text(row, "essential")),
    column("PORTS", |row| list(row, "portMappings").iter().map(port).collect::<Vec<_>>().join(",")),
];

/// `HOST->CONTAINER/PROTOCOL`; a host port of 0 is chosen by the engine.
fn port(mapping: &Value) -> String {
    let container = match text(mapping, "containerPortRange") {
        range if range.is_empty() => text(mapping, "containerPort"),
        range => range,
    };
    let host = match text(mapping, "hostPort") {
        none if none.is_empty() || none == "0" => "dynamic".to_owned(),
        fixed => fixed,
    };
    let protocol = match text(mapping, "protocol") {
        none if none.is_empty() => "tcp".to_owned(),
        given => given,
    };
    format!("{host}->{container}/{protocol}")
}

fn page(answer: &Value) -> String {
    let definition = &answer["taskDefinition"];
    Page::default()
        .line("Task definition", short(definition, "taskDefinitionArn"))
        .line("ARN", text(definition, "taskDefinitionArn"))
        .line("Status", text(definition, "status"))
        .line("Network mode", text(definition, "networkMode"))
        .line("CPU", text(definition, "cpu"))
        .line("Memory", text(definition, "memory"))
        .line("Task role", text(definition, "taskRoleArn"))
        .line("Execution role", text(definition, "executionRoleArn"))
        .line("Placement", pairs(list(definition, "placementConstraints"), "type", "expression"))
        .line("Volumes", pairs(list(definition, "volumes"), "name", "host.sourcePath"))
        .line("Registered", iso(definition, "registeredAt"))
        .line("Tags", tags(answer))
        .section("Containers", &table::render(&CONTAINERS, list(definition, "containerDefinitions")))
        .render()
}

async fn deregister(session: &Session, args: NamesArgs) -> anyhow::Result<()> {
    let mut gone = Vec::with_capacity(args.task_definitions.len());
    for name in args.task_definitions {
        let answer =
            session.call(Operation::DeregisterTaskDefinition, json!({ "taskDefinition": name })).await?;
        gone.push(answer["taskDefinition"].clone());
    }
    show(session.format(), &json!({ "taskDefinitions": gone }), |answer| {
        let state = |row: &Value| format!("{} is {}", short(row, "taskDefinitionArn"), text(row, "status"));
        list(answer, "taskDefinitions").iter().map(state).collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("not an object: {value}") };
        members
    }

    #[test]
    fn a_request_and_a_description_register_alike() {
        fn check(file: Value, expected: &Value) {
            let request = registration(object(file), None, &[]).unwrap();
            assert_eq!(Value::Object(request), *expected);
        }
        let containers = json!([{"name": "web", "image": "busybox", "memory": 16}]);
        let request = json!({"family": "web", "containerDefinitions": containers});
        check(request.clone(), &request);
        check(
            json!({
                "taskDefinition": {
                    "family": "web", "containerDefinitions": containers, "revision": 3, "status": "ACTIVE",
                    "taskDefinitionArn": "arn:x", "registeredAt": 1, "registeredBy": "arn:y",
                    "compatibilities": ["EC2"], "requiresAttributes": [{"name": "a"}],
                },
                "tags": [],
            }),
            &request,
        );
        let tagged = json!([{"key": "team", "value": "web"}]);
        check(
            json!({"taskDefinition": request, "tags": tagged}),
            &json!({"family": "web", "containerDefinitions": containers, "tags": tagged}),
        );
    }

    #[test]
    fn flags_win_and_unknown_members_do_not_pass() {
        let file = json!({"family": "web", "containerDefinitions": []});
        let tags = [("team".to_owned(), "web".to_owned())];
        let request = registration(object(file), Some("api".to_owned()), &tags).unwrap();
        assert_eq!(request["family"], "api");
        assert_eq!(request["tags"], json!([{"key": "team", "value": "web"}]));
        let wrong = object(json!({"family": "web", "containers": []}));
        assert!(
            registration(wrong, None, &[]).unwrap_err().to_string().contains("unknown member containers")
        );
        let odd = object(json!({"taskDefinition": "web:3"}));
        assert!(
            registration(odd, None, &[]).unwrap_err().to_string().contains("unknown member taskDefinition")
        );
    }

    #[test]
    fn ports_read_from_host_to_container() {
        fn check(mapping: &Value, expected: &str) {
            assert_eq!(port(mapping), expected);
        }
        check(&json!({"containerPort": 80, "hostPort": 0, "protocol": "tcp"}), "dynamic->80/tcp");
        check(&json!({"containerPort": 53, "hostPort": 5353, "protocol": "udp"}), "5353->53/udp");
        check(&json!({"containerPortRange": "8000-8010"}), "dynamic->8000-8010/tcp");
    }
}
