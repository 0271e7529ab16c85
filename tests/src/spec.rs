//! Task definitions as tests write them: only what a case is about, over a base that is small and runs anywhere.

use serde_json::{Value, json};

use crate::binary;
use crate::engine::IMAGE;

/// MiB for a container that does next to nothing; a machine holds hundreds of them.
const MEMORY_MIB: u32 = 16;

/// A container `name` with `members` over the base. Its task ends when it ends unless `members` say otherwise.
pub fn container(name: &str, members: Value) -> Value {
    laid_over(json!({"name": name, "image": IMAGE, "memory": MEMORY_MIB, "essential": true}), members)
}

/// A container `name` that runs `script` with busybox's shell.
pub fn shell(name: &str, script: &str, members: Value) -> Value {
    container(name, laid_over(json!({"command": ["sh", "-c", script]}), members))
}

/// A container `name` that runs until it is stopped, and stops at once when it is asked to.
pub fn idle(name: &str, members: Value) -> Value {
    shell(name, "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done", members)
}

/// A web server on a dynamic host port, which stops at once when it is asked to.
pub fn web() -> Value {
    let members = json!({"portMappings": [{"containerPort": 8080}]});
    shell("web", "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait $!", members)
}

/// A task definition of one web server for load balancers under test (`ecsr-backend`), container `web`, port 8080. With a
/// `version` it differs from any other.
pub fn backend(family: &str, version: &str) -> Value {
    let binary = binary::backend();
    let directory = binary.parent().expect("a file lies in a directory");
    let server = container(
        "web",
        json!({
            "command": ["/fixture/ecsr-backend", "8080"],
            "environment": [{"name": "VERSION", "value": version}],
            "portMappings": [{"containerPort": 8080}],
            "mountPoints": [{"sourceVolume": "fixture", "containerPath": "/fixture", "readOnly": true}],
        }),
    );
    let volumes = json!([{"name": "fixture", "host": {"sourcePath": directory}}]);
    laid_over(task(family, &[server]), json!({ "volumes": volumes }))
}

/// A task definition of `containers`.
pub fn task(family: &str, containers: &[Value]) -> Value {
    json!({"family": family, "containerDefinitions": containers})
}

/// `base` with the members of `members` added or in place of its own.
pub fn laid_over(mut base: Value, members: Value) -> Value {
    if let (Value::Object(base), Value::Object(members)) = (&mut base, members) {
        base.extend(members);
    }
    base
}
