//! Whatever a caller sends, the scheduler answers and stays sound: bodies made at random out of the service model.
//!
//! Each case sends a run of requests to one cluster: every member may be there or not, and every value is one that
//! hurts, one that names something real, or nonsense of another type. What must hold: no panic, a refused request
//! changes nothing, and the state passes `check` after each. Failing seeds are kept beside the crate.

use std::sync::LazyLock;

use ecsr_api::ecs::Operation;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Map, Value, json};

use super::parse;
use crate::read;
use crate::testing::World;

static MODEL: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../api/model/ecs.json"))
        .expect("the checked-in model is JSON")
});

/// Requests of one case.
const REQUESTS: usize = 40;
/// Deeper structures than this are left empty.
const DEPTH_MAX: usize = 6;

const STRINGS: &[&str] = &[
    "",
    " ",
    "default",
    "web",
    "web:1",
    "web:0",
    "web:99999999999",
    ":",
    "service:web",
    "a/b/c",
    "arn:",
    "arn:aws:ecs",
    "arn:aws:ecs:us-east-1:123456789012:cluster/default",
    "arn:aws:ecs:us-east-1:123456789012:service/default/web",
    "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    "arn:aws:ecs:eu-west-1:1:task/x/y",
    "ACTIVE",
    "RUNNING",
    "STOPPED",
    "EC2",
    "FARGATE",
    "awsvpc",
    "host",
    "bridge",
    "none",
    "tcp",
    "udp",
    "80-90",
    "90-80",
    "0-70000",
    "TAGS",
    "memberOf",
    "distinctInstance",
    "spread",
    "binpack",
    "cpu",
    "memory",
    "instanceId",
    "attribute:ecs.os-type == linux",
    "task:group =~ (((",
    "not not not",
    "DAEMON",
    "REPLICA",
    "CMD-SHELL",
    "NONE",
    "1 vCPU",
    ".5 vCPU",
    "1GB",
    "-1",
    "0x10",
    "\u{0}",
    "\u{202e}ö\u{1f980}",
    "00000000000000000000000000000000",
    "HEALTHY",
    "START",
    "PENDING",
    "DRAINING",
];

const INTEGERS: &[i64] = &[
    0,
    1,
    2,
    3,
    10,
    80,
    128,
    256,
    5000,
    65535,
    65536,
    -1,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
];

struct Hostile(ChaCha8Rng);

impl Hostile {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).expect("below a usize")
    }

    fn value(&mut self, shape: &str, depth: usize) -> Value {
        if self.below(60) == 0 {
            return [json!(null), json!("text"), json!(7), json!([]), json!({}), json!(true)][self.below(6)]
                .clone();
        }
        let shape = &MODEL["shapes"][shape];
        match shape["type"].as_str().unwrap_or_default() {
            "structure" => self.structure(shape, depth),
            "list" => {
                let member = shape["member"]["shape"].as_str().unwrap_or_default();
                (0..self.below(4)).map(|_| self.value(member, depth + 1)).collect()
            }
            "map" => {
                let value = shape["value"]["shape"].as_str().unwrap_or_default();
                (0..self.below(3)).map(|_| (self.string(), self.value(value, depth + 1))).collect()
            }
            "integer" | "long" => json!(INTEGERS[self.below(INTEGERS.len())]),
            "double" | "float" | "timestamp" => json!([0.0, -1.5, 1.6e9, 1e300][self.below(4)]),
            "boolean" => json!(self.below(2) == 0),
            _ => self.enumerated(shape),
        }
    }

    fn structure(&mut self, shape: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        for (name, member) in shape["members"].as_object().into_iter().flatten() {
            let required = shape["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
            if depth < DEPTH_MAX && self.below(100) < if required { 95 } else { 25 } {
                let member = member["shape"].as_str().unwrap_or_default();
                object.insert(name.clone(), self.value(member, depth + 1));
            }
        }
        Value::Object(object)
    }

    fn enumerated(&mut self, shape: &Value) -> Value {
        match shape["enum"].as_array() {
            Some(allowed) if self.below(10) > 0 => allowed[self.below(allowed.len())].clone(),
            _ => json!(self.string()),
        }
    }

    fn string(&mut self) -> String {
        let string = STRINGS[self.below(STRINGS.len())];
        if self.below(50) == 0 { string.repeat(500) } else { string.to_owned() }
    }
}

fn attack(seed: u64) {
    let mut hostile = Hostile(ChaCha8Rng::seed_from_u64(seed));
    let mut world = World::new();
    world.instance("a", 4096, 8192);
    world.define("web", |_| {});
    world.serve("web", 2, |_| {});
    for _ in 0..REQUESTS {
        let operation = Operation::ALL[hostile.below(Operation::ALL.len())];
        let input = MODEL["operations"][operation.name()]["input"]["shape"].as_str().unwrap_or_default();
        let body = serde_json::to_vec(&hostile.value(input, 0)).expect("JSON can be written");
        if let Some(Err(error)) = read::answer(&world.state, operation, &body) {
            assert!(!ecsr_api::ApiError::from(error).body().is_empty());
        }
        if let Some(Ok(command)) = parse(operation, &body) {
            let before = world.events.len();
            if world.ask(&command).is_err() {
                assert_eq!(world.events.len(), before, "a refused {} left a trace", operation.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn no_body_breaks_the_scheduler(seed: u64) {
        attack(seed);
    }

    #[test]
    fn no_bytes_break_the_parsers(body in proptest::collection::vec(any::<u8>(), 0..200), index in 0_usize..88) {
        let operation = Operation::ALL[index];
        let world = World::new();
        let _ = parse(operation, &body);
        let _ = read::answer(&world.state, operation, &body);
    }
}
