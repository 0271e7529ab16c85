//! Whether an expression holds for an instance.
//!
//! A term has no, one or (for `task:group`) many values on an instance. A test holds when *some* value passes it; a
//! negated test holds when *no* value does. So `attribute:x != a` holds where `x` is absent, and
//! `task:group != db` only where no task at all belongs to `db`.

use std::cmp::Ordering;

use super::Subject;
use super::syntax::{Literal, Node, Predicate, Term, Test};
use super::value::Reading;

impl Node {
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(subject)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(subject)),
            Self::Not(part) => !part.holds(subject),
            Self::Is(predicate) => predicate.holds(subject),
        }
    }
}

impl Predicate {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let passes = match &self.term {
            Term::TaskGroup => subject.task_groups.iter().any(|group| self.test.passes(Reading::Text(group))),
            single => single.reading(subject).is_some_and(|reading| self.test.passes(reading)),
        };
        passes != self.negated
    }
}

impl Term {
    /// The term's one value on the instance, if it has one.
    fn reading<'a>(&self, subject: &Subject<'a>) -> Option<Reading<'a>> {
        match self {
            Self::AgentConnected => Some(Reading::Flag(subject.agent_connected)),
            Self::AgentVersion => subject.agent_version.map(Reading::Version),
            Self::Attribute(name) => (subject.attribute)(name).map(Reading::Text),
            Self::Ec2InstanceId => subject.ec2_instance_id.map(Reading::Text),
            Self::RegisteredAt => Some(Reading::Instant(subject.registered_at_ms)),
            Self::RunningTasksCount => Some(Reading::Count(subject.running_tasks_count)),
            Self::TaskGroup => subject.task_groups.first().map(|group| Reading::Text(group)),
        }
    }
}

impl Test {
    fn passes(&self, reading: Reading<'_>) -> bool {
        let order = |literal: &Literal| reading.order(&literal.value);
        match self {
            Self::Exists => true,
            Self::Equals(literal) => reading.equals(&literal.value),
            Self::Greater(literal) => order(literal) == Some(Ordering::Greater),
            Self::GreaterOrEqual(literal) => order(literal).is_some_and(Ordering::is_ge),
            Self::Less(literal) => order(literal) == Some(Ordering::Less),
            Self::LessOrEqual(literal) => order(literal).is_some_and(Ordering::is_le),
            Self::OneOf(literals) => literals.iter().any(|literal| reading.equals(&literal.value)),
            Self::Matches(pattern) => pattern.matches(&reading.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, parse};

    fn subject<'a>(
        attribute: &'a dyn Fn(&str) -> Option<&'a str>,
        task_groups: &'a [&'a str],
    ) -> Subject<'a> {
        Subject {
            attribute,
            agent_connected: true,
            agent_version: Some("1.105.1"),
            ec2_instance_id: Some("i-0abc"),
            registered_at_ms: 1_529_360_908_000,
            running_tasks_count: 3,
            task_groups,
        }
    }

    fn check(text: &str, expected: bool) {
        let attribute = |name: &str| match name {
            "ecs.instance-type" => Some("t3.medium"),
            "ecs.availability-zone" => Some("us-east-1a"),
            "rack" => Some("12"),
            "ssd" => Some(""),
            _ => None,
        };
        let groups = ["service:web", "family:job"];
        let expression = parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        assert_eq!(expression.matches(&subject(&attribute, &groups)), expected, "{text}");
    }

    #[test]
    fn attributes() {
        check("attribute:ecs.instance-type == t3.medium", true);
        check("attribute:ecs.instance-type equals t3.large", false);
        check("attribute:ecs.instance-type != t3.large", true);
        check("attribute:ecs.instance-type =~ t3.*", true);
        check("attribute:ecs.instance-type =~ t3", false);
        check("attribute:ecs.instance-type matches t[23]\\.(small|medium)", true);
        check("attribute:ecs.instance-type not_matches g2.*", true);
        check("attribute:ecs.availability-zone in [us-east-1a, us-east-1b]", true);
        check("attribute:ecs.availability-zone !in ['us-east-1a','us-east-1b']", false);
        check("attribute:rack > 9", true);
        check("attribute:rack less_than_equal 12", true);
        check("attribute:ssd exists", true);
        check("attribute:ssd == ''", true);
        check("attribute:ssd !exists", false);
    }

    #[test]
    fn what_is_absent_passes_no_test_and_every_negated_one() {
        for (test, negated) in
            [("== a", "!= a"), ("exists", "!exists"), ("in [a]", "not_in [a]"), ("=~ .*", "!~ .*")]
        {
            check(&format!("attribute:gone {test}"), false);
            check(&format!("attribute:gone {negated}"), true);
        }
        check("attribute:gone < 5", false);
        check("attribute:gone >= 5", false);
    }

    #[test]
    fn groups_are_affinity_and_anti_affinity() {
        check("task:group == service:web", true);
        check("task:group == service:db", false);
        check("task:group != service:web", false);
        check("task:group != service:db", true);
        check("not(task:group == service:db)", true);
        check("task:group =~ family:.*", true);
        check("task:group exists", true);
    }

    #[test]
    fn facts_of_the_instance() {
        check("agentConnected == true", true);
        check("agentConnected == false", false);
        check("agentVersion >= 1.20.0", true);
        check("agentVersion == 1.105.1", true);
        check("ec2InstanceId in ['i-0abc', 'i-0def']", true);
        check("registeredAt > 2018-06-18", true);
        check("registeredAt < 2018-06-18T22:28:29+00:00", true);
        check("registeredAt =~ 2018-.*", true);
        check("runningTasksCount < 10", true);
        check("runningTasksCount == 3", true);
    }

    #[test]
    fn not_binds_before_and_and_before_or() {
        check("(attribute:rack == 12 or attribute:rack == 13) && attribute:ssd exists", true);
        check("attribute:rack == 1 || attribute:rack == 12 && attribute:gone exists", false);
        check("attribute:rack == 12 || attribute:rack == 1 && attribute:gone exists", true);
        check("not attribute:rack == 1 and attribute:ssd exists", true);
        check("!attribute:rack == 1", true);
        check("!(attribute:rack == 12 && attribute:ssd exists)", false);
        check("not not attribute:rack == 12", true);
    }
}
