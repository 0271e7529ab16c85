//! Placement constraints and strategies: from the words of the API to types that placement can use.
//!
//! Placement matches on enums and never on text; the words come back only in the echo, normalised as ECS does it
//! (`host` becomes `instanceId`, `cpu` becomes `CPU`), which terraform relies on.

use ecsr_api::ecs;
use serde::{Deserialize, Serialize};

use crate::names;
use crate::query::{self, Expression};
use crate::refusal::{Refusal, client, invalid};

/// Most constraints on one task, those of its definition and those of the call together.
pub const PLACEMENT_CONSTRAINTS_MAX: usize = 10;
/// Most strategies in one list.
pub const PLACEMENT_STRATEGIES_MAX: usize = 5;

/// A rule that an instance must meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// At most one task of the same group per instance.
    DistinctInstance,
    /// The expression holds for the instance.
    MemberOf(Expression),
}

/// How to choose among the instances that remain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Any of them.
    Random,
    /// Where the fewest tasks of the same service, or group, share the field's value.
    Spread(SpreadField),
    /// Where the least CPU is left.
    BinpackCpu,
    /// Where the least memory is left.
    BinpackMemory,
}

/// What tasks are spread over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpreadField {
    /// Single instances.
    InstanceId,
    /// The values of an attribute, by its full name.
    Attribute(String),
}

/// The constraints of a service or a call.
pub fn constraints(list: &[ecs::PlacementConstraint]) -> Result<Vec<Constraint>, Refusal> {
    check_count(list.len())?;
    list.iter()
        .map(|constraint| read(constraint.r#type.as_deref(), constraint.expression.as_deref()))
        .collect()
}

/// The constraints of a definition, which can only be expressions; a `ClientException` when bad.
pub fn definition_constraints(definition: &ecs::TaskDefinition) -> Result<Vec<Constraint>, Refusal> {
    let list = definition.placement_constraints.as_deref().unwrap_or_default();
    check_count(list.len()).map_err(Refusal::into_client)?;
    let read_one = |constraint: &ecs::TaskDefinitionPlacementConstraint| {
        let kind = constraint.r#type.as_deref();
        if kind == Some("distinctInstance") {
            return Err(client("constraint.type 'distinctInstance' is not supported."));
        }
        read(kind, constraint.expression.as_deref()).map_err(Refusal::into_client)
    };
    list.iter().map(read_one).collect()
}

/// All constraints on a task: those of its definition and those of the call, which must all hold.
pub fn task_constraints(
    definition: &ecs::TaskDefinition,
    call: &[ecs::PlacementConstraint],
) -> Result<Vec<Constraint>, Refusal> {
    let mut all = definition_constraints(definition)?;
    check_count(all.len() + call.len())?;
    all.extend(constraints(call)?);
    Ok(all)
}

/// The strategies of a service or a call, in the order in which they narrow the choice.
pub fn strategies(list: &[ecs::PlacementStrategy]) -> Result<Vec<Strategy>, Refusal> {
    if list.len() > PLACEMENT_STRATEGIES_MAX {
        return Err(invalid(format!(
            "At most {PLACEMENT_STRATEGIES_MAX} placement strategies can be specified."
        )));
    }
    list.iter().map(read_strategy).collect()
}

/// Strategies in the words in which ECS echoes them.
pub fn echo_strategies(strategies: &[Strategy]) -> Vec<ecs::PlacementStrategy> {
    let echo = |strategy: &Strategy| {
        let (kind, field) = match strategy {
            Strategy::Random => ("random", None),
            Strategy::Spread(SpreadField::InstanceId) => ("spread", Some("instanceId".to_owned())),
            Strategy::Spread(SpreadField::Attribute(name)) => ("spread", Some(format!("attribute:{name}"))),
            Strategy::BinpackCpu => ("binpack", Some("CPU".to_owned())),
            Strategy::BinpackMemory => ("binpack", Some("MEMORY".to_owned())),
        };
        ecs::PlacementStrategy { r#type: Some(kind.to_owned()), field }
    };
    strategies.iter().map(echo).collect()
}

fn check_count(count: usize) -> Result<(), Refusal> {
    if count > PLACEMENT_CONSTRAINTS_MAX {
        return Err(invalid(format!(
            "At most {PLACEMENT_CONSTRAINTS_MAX} placement constraints can be specified."
        )));
    }
    Ok(())
}

fn read(kind: Option<&str>, expression: Option<&str>) -> Result<Constraint, Refusal> {
    match (kind, expression) {
        (Some("distinctInstance"), None | Some("")) => Ok(Constraint::DistinctInstance),
        (Some("distinctInstance"), Some(_)) => {
            Err(invalid("distinctInstance expression should not be specified."))
        }
        (Some("memberOf"), expression) => {
            query::parse(expression.unwrap_or_default()).map(Constraint::MemberOf)
        }
        (Some(other), _) => Err(invalid(format!("constraint.type '{other}' is not supported."))),
        (None, _) => Err(invalid("constraint.type should not be null or empty.")),
    }
}

fn read_strategy(strategy: &ecs::PlacementStrategy) -> Result<Strategy, Refusal> {
    let field = strategy.field.as_deref().unwrap_or_default();
    match strategy.r#type.as_deref() {
        Some("random") => Ok(Strategy::Random),
        Some("spread") => read_spread(field).map(Strategy::Spread),
        Some("binpack") if field.eq_ignore_ascii_case("cpu") => Ok(Strategy::BinpackCpu),
        Some("binpack") if field.eq_ignore_ascii_case("memory") => Ok(Strategy::BinpackMemory),
        Some("binpack") => Err(bad_field("binpack", field)),
        Some(other) => Err(invalid(format!("strategy.type '{other}' is not supported."))),
        None => Err(invalid("strategy.type should not be null or empty.")),
    }
}

fn read_spread(field: &str) -> Result<SpreadField, Refusal> {
    if field.eq_ignore_ascii_case("instanceId") || field.eq_ignore_ascii_case("host") {
        return Ok(SpreadField::InstanceId);
    }
    let Some(name) = field.strip_prefix("attribute:") else { return Err(bad_field("spread", field)) };
    names::attribute_name(name)?;
    Ok(SpreadField::Attribute(name.to_owned()))
}

fn bad_field(strategy: &str, field: &str) -> Refusal {
    invalid(format!("'{field}' is not a valid field for the placement strategy '{strategy}'."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn constraints_of_a_call() {
        let check = |list: Value, expected: Result<usize, &str>| {
            let list: Vec<ecs::PlacementConstraint> = serde_json::from_value(list).expect("constraints");
            let read = constraints(&list).map(|read| read.len());
            assert_eq!(read, expected.map_err(invalid));
        };
        check(json!([]), Ok(0));
        check(json!([{"type": "distinctInstance"}]), Ok(1));
        check(json!([{"type": "memberOf", "expression": "attribute:a exists"}]), Ok(1));
        check(
            json!([{"type": "distinctInstance", "expression": "x"}]),
            Err("distinctInstance expression should not be specified."),
        );
        check(json!([{"type": "memberOf"}]), Err("Expression can not be blank."));
        check(json!([{"type": "nearby"}]), Err("constraint.type 'nearby' is not supported."));
        check(json!([{}]), Err("constraint.type should not be null or empty."));
        check(
            json!(vec![json!({"type": "distinctInstance"}); 11]),
            Err("At most 10 placement constraints can be specified."),
        );
    }

    #[test]
    fn constraints_of_definition_and_call_count_together() {
        let expression = json!({"type": "memberOf", "expression": "attribute:a exists"});
        let definition: ecs::TaskDefinition =
            serde_json::from_value(json!({"placementConstraints": vec![expression; 6]}))
                .expect("a definition");
        let distinct = |count| {
            let constraint =
                ecs::PlacementConstraint { r#type: Some("distinctInstance".into()), expression: None };
            vec![constraint; count]
        };
        assert_eq!(task_constraints(&definition, &distinct(4)).map(|all| all.len()), Ok(10));
        assert!(task_constraints(&definition, &distinct(5)).is_err());
    }

    #[test]
    fn strategies_come_back_normalised() {
        let check = |list: Value, expected: Result<Value, &str>| {
            let list: Vec<ecs::PlacementStrategy> = serde_json::from_value(list).expect("strategies");
            let echo = strategies(&list)
                .map(|read| serde_json::to_value(echo_strategies(&read)).expect("serialises"));
            assert_eq!(echo, expected.map_err(invalid));
        };
        check(
            json!([{"type": "spread", "field": "host"}, {"type": "binpack", "field": "cpu"}, {"type": "random"}]),
            Ok(json!([{"type": "spread", "field": "instanceId"}, {"type": "binpack", "field": "CPU"},
                {"type": "random"}])),
        );
        check(
            json!([{"type": "spread", "field": "attribute:ecs.availability-zone"},
                {"type": "binpack", "field": "MEMORY"}]),
            Ok(json!([{"type": "spread", "field": "attribute:ecs.availability-zone"},
                {"type": "binpack", "field": "MEMORY"}])),
        );
        check(
            json!([{"type": "spread"}]),
            Err("'' is not a valid field for the placement strategy 'spread'."),
        );
        check(
            json!([{"type": "binpack", "field": "disk"}]),
            Err("'disk' is not a valid field for the placement strategy 'binpack'."),
        );
        check(json!([{"type": "tidy"}]), Err("strategy.type 'tidy' is not supported."));
        check(
            json!(vec![json!({"type": "random"}); 6]),
            Err("At most 5 placement strategies can be specified."),
        );
    }

    #[test]
    fn constraints_survive_a_journal() {
        let constraint = Constraint::MemberOf(query::parse("attribute:a =~ x.*").expect("valid"));
        let json = serde_json::to_string(&constraint).expect("serialises");
        assert_eq!(json, r#"{"MemberOf":"attribute:a =~ x.*"}"#);
        assert_eq!(serde_json::from_str::<Constraint>(&json).expect("reads"), constraint);
    }
}
