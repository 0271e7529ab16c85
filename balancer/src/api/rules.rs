//! Rules of listeners. They are part of their listener, which its last-but-one name in the ARN says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ecsr_api::elbv2::{
    CreateRuleInput, CreateRuleOutput, DeleteRuleInput, DeleteRuleOutput, DescribeRulesInput,
    DescribeRulesOutput, Error, ErrorCode, ModifyRuleInput, ModifyRuleOutput, Rule as ShownRule,
    RuleTransform, SetRulePrioritiesInput, SetRulePrioritiesOutput,
};

use super::check::{self, invalid, unfit, unsupported};
use super::draft::{self, Draft};
use super::page::{self, Page};
use super::{actions, conditions, listeners, tags};
use crate::model::{Listener, Protocol, Rule, State};

const PRIORITY_MAX: u32 = 50_000;
/// Sorts after every priority.
const DEFAULT_PRIORITY: &str = "default";

/// A rule and its listener. Without a rule it is the default one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub listener: &'a Arc<Listener>,
    pub rule: Option<&'a Arc<Rule>>,
}

/// The rule that an ARN names.
pub(super) fn find<'a>(state: &'a State, arn: &str) -> Result<Found<'a>, Error> {
    let missing = || draft::missing_rule(arn);
    let (listener, _) = arn.rsplit_once('/').ok_or_else(missing)?;
    let listener = listener.replacen(":listener-rule/", ":listener/", 1);
    let listener = state.listeners.get(&*listener).ok_or_else(missing)?;
    match listener.rules.iter().find(|rule| &*rule.arn == arn) {
        Some(rule) => Ok(Found { listener, rule: Some(rule) }),
        None if &*listener.default_rule == arn => Ok(Found { listener, rule: None }),
        None => Err(missing()),
    }
}

pub(super) fn create(draft: &mut Draft<'_>, request: CreateRuleInput) -> Result<CreateRuleOutput, Error> {
    let listener = check::required(request.listener_arn, "listenerArn")?;
    let priority = check::required(request.priority, "priority")?;
    let priority = check::within(priority, "priority", 1, PRIORITY_MAX)?;
    let conditions = conditions::read(check::required(request.conditions, "conditions")?)?;
    let asked = actions::read(check::required(request.actions, "actions")?)?;
    check_transforms(request.transforms.as_ref())?;
    let tags = tags::read(request.tags)?;
    let listener = draft::listener(&draft.state, &listener)?.clone();
    if !matches!(listener.protocol, Protocol::Http | Protocol::Https) {
        return Err(unfit("Rules are not supported on listeners of network load balancers"));
    }
    if listener.rules.iter().any(|rule| rule.priority == priority) {
        return Err(in_use(priority));
    }
    let arn = draft.rule_arn(&listener.arn);
    let rule = Arc::new(Rule { arn, priority, conditions, action: asked.action, order: asked.order, tags });
    let mut changed = (*listener).clone();
    changed.rules.push(rule.clone());
    changed.rules.sort_by_key(|rule| rule.priority);
    listeners::put(draft, changed)?;
    Ok(CreateRuleOutput { rules: Some(vec![show(&rule)]) })
}

pub(super) fn describe(state: &State, request: DescribeRulesInput) -> Result<DescribeRulesOutput, Error> {
    let items: Vec<(String, ShownRule)> = match (request.listener_arn, check::filter(request.rule_arns)) {
        (Some(listener), None) => {
            let listener = draft::listener(state, &listener)?;
            let rules = listener.rules.iter().map(|rule| (format!("{:05}", rule.priority), show(rule)));
            rules.chain([(DEFAULT_PRIORITY.to_owned(), show_default(listener))]).collect()
        }
        (None, Some(arns)) => {
            let shown = |arn: String| {
                let shown = find(state, &arn)?.show();
                Ok((arn, shown))
            };
            arns.into_iter().map(shown).collect::<Result<_, Error>>()?
        }
        (Some(_), Some(_)) => return Err(invalid("You cannot specify both a listener ARN and rule ARNs")),
        (None, None) => return Err(invalid("You must specify either a listener ARN or rule ARNs")),
    };
    let page = Page { marker: request.marker, size: request.page_size };
    let (rules, next_marker) = page::cut(page, items)?;
    Ok(DescribeRulesOutput { rules: Some(rules), next_marker })
}

pub(super) fn modify(draft: &mut Draft<'_>, request: ModifyRuleInput) -> Result<ModifyRuleOutput, Error> {
    let arn = check::required(request.rule_arn, "ruleArn")?;
    check_transforms(request.transforms.as_ref())?;
    let found = find(&draft.state, &arn)?;
    let Some(rule) = found.rule else {
        return Err(not_permitted(format!("Default rule '{arn}' cannot be modified")));
    };
    let (listener, mut rule) = (found.listener.clone(), (**rule).clone());
    if request.conditions.is_none() && request.actions.is_none() && request.reset_transforms.is_none() {
        return Err(invalid("Either conditions or actions must be specified"));
    }
    if let Some(asked) = request.conditions {
        rule.conditions = conditions::read(asked)?;
    }
    if let Some(asked) = request.actions {
        let asked = actions::read(asked)?;
        (rule.action, rule.order) = (asked.action, asked.order);
    }
    let (mut changed, rule) = ((*listener).clone(), Arc::new(rule));
    for place in changed.rules.iter_mut().filter(|place| place.arn == rule.arn) {
        *place = rule.clone();
    }
    listeners::put(draft, changed)?;
    Ok(ModifyRuleOutput { rules: Some(vec![show(&rule)]) })
}

pub(super) fn delete(draft: &mut Draft<'_>, request: DeleteRuleInput) -> Result<DeleteRuleOutput, Error> {
    let arn = check::required(request.rule_arn, "ruleArn")?;
    let found = find(&draft.state, &arn)?;
    if found.rule.is_none() {
        return Err(not_permitted(format!("Default rule '{arn}' cannot be deleted")));
    }
    let listener = found.listener.arn.clone();
    draft.listener_mut(&listener)?.rules.retain(|rule| *rule.arn != *arn);
    Ok(DeleteRuleOutput {})
}

/// Gives several rules their places at once, so that two can change theirs.
pub(super) fn set_priorities(
    draft: &mut Draft<'_>,
    request: SetRulePrioritiesInput,
) -> Result<SetRulePrioritiesOutput, Error> {
    let mut asked = BTreeMap::new();
    for pair in check::items(request.rule_priorities, "rulePriorities")? {
        let arn = check::required(pair.rule_arn, "rulePriorities.member.ruleArn")?;
        let priority = check::required(pair.priority, "rulePriorities.member.priority")?;
        let priority = check::within(priority, "rulePriorities.member.priority", 1, PRIORITY_MAX)?;
        if find(&draft.state, &arn)?.rule.is_none() {
            return Err(not_permitted(format!("The priority of the default rule '{arn}' cannot be changed")));
        }
        if asked.insert(arn.clone(), priority).is_some() {
            return Err(invalid(format!("Rule '{arn}' was provided multiple times")));
        }
    }
    let mut touched = BTreeSet::new();
    for (arn, priority) in &asked {
        let listener = find(&draft.state, arn)?.listener.arn.clone();
        let rules = &mut draft.listener_mut(&listener)?.rules;
        for rule in rules.iter_mut().filter(|rule| *rule.arn == **arn) {
            Arc::make_mut(rule).priority = *priority;
        }
        touched.insert(listener);
    }
    for listener in touched {
        let rules = &mut draft.listener_mut(&listener)?.rules;
        rules.sort_by_key(|rule| rule.priority);
        if let Some(twice) = rules.windows(2).find(|pair| pair[0].priority == pair[1].priority) {
            let priority = twice[0].priority;
            let are_asked = twice.iter().all(|rule| asked.contains_key(&*rule.arn));
            let message = format!("Priority '{priority}' was provided multiple times");
            return Err(if are_asked { invalid(message) } else { in_use(priority) });
        }
    }
    let shown = asked.keys().map(|arn| Ok(find(&draft.state, arn)?.show())).collect::<Result<_, Error>>()?;
    Ok(SetRulePrioritiesOutput { rules: Some(shown) })
}

impl Found<'_> {
    fn show(self) -> ShownRule {
        self.rule.map_or_else(|| show_default(self.listener), |rule| show(rule))
    }
}

fn show(rule: &Rule) -> ShownRule {
    ShownRule {
        actions: Some(vec![actions::show(&rule.action, rule.order)]),
        conditions: Some(rule.conditions.iter().map(conditions::show).collect()),
        is_default: Some(false),
        priority: Some(rule.priority.to_string()),
        rule_arn: Some(rule.arn.to_string()),
        transforms: None,
    }
}

fn show_default(listener: &Listener) -> ShownRule {
    ShownRule {
        actions: Some(vec![actions::show(&listener.default_action, listener.default_order)]),
        conditions: Some(Vec::new()),
        is_default: Some(true),
        priority: Some(DEFAULT_PRIORITY.to_owned()),
        rule_arn: Some(listener.default_rule.to_string()),
        transforms: None,
    }
}

fn check_transforms(asked: Option<&Vec<RuleTransform>>) -> Result<(), Error> {
    if asked.is_some_and(|transforms| !transforms.is_empty()) {
        return Err(unsupported("Transforms of rules are"));
    }
    Ok(())
}

fn in_use(priority: u32) -> Error {
    Error::new(ErrorCode::PriorityInUse, format!("Priority '{priority}' is currently in use"))
}

fn not_permitted(message: String) -> Error {
    Error::new(ErrorCode::OperationNotPermitted, message)
}
