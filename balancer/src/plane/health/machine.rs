//! What follows from the answers to health checks.

use crate::model::{HealthReason, HealthState, Kind, TargetHealth};

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    Good,
    /// An answer with a status that the matcher does not have.
    Mismatch(u16),
    Timeout,
    /// No connection, or no answer that makes sense.
    Failed,
}

/// Whether a target can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) enum Standing {
    /// Not known yet: too few answers.
    #[default]
    New,
    Healthy,
    Unhealthy,
}

/// How many equal answers in a row change the standing.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Thresholds {
    /// Good ones, of a new target.
    pub(super) first: u32,
    /// Good ones, of an unhealthy target.
    pub(super) healthy: u32,
    /// Bad ones.
    pub(super) unhealthy: u32,
}

/// The answers of one target so far, as far as they matter.
#[derive(Debug, Default)]
pub(in super::super) struct Machine {
    standing: Standing,
    /// Equal answers in a row, the last included.
    run: u32,
    /// The last answer.
    last: Option<Verdict>,
    /// The last bad answer: why it is unhealthy.
    fault: Option<Verdict>,
}

impl Machine {
    /// Takes an answer. True when the standing changed.
    pub(super) fn step(&mut self, verdict: Verdict, thresholds: Thresholds) -> bool {
        let good = verdict == Verdict::Good;
        let same = self.last.is_some_and(|last| (last == Verdict::Good) == good);
        self.run = if same { self.run.saturating_add(1) } else { 1 };
        self.last = Some(verdict);
        if !good {
            self.fault = Some(verdict);
        }
        let next = match (self.standing, good) {
            (Standing::New, true) if self.run >= thresholds.first => Standing::Healthy,
            (Standing::Unhealthy, true) if self.run >= thresholds.healthy => Standing::Healthy,
            (Standing::New | Standing::Healthy, false) if self.run >= thresholds.unhealthy => {
                Standing::Unhealthy
            }
            (standing, _) => standing,
        };
        let changed = next != self.standing;
        self.standing = next;
        changed
    }

    pub(in super::super) fn standing(&self) -> Standing {
        self.standing
    }

    /// In ELB's words.
    pub(in super::super) fn health(&self, kind: Kind) -> TargetHealth {
        match self.standing {
            Standing::New => TargetHealth {
                state: HealthState::Initial,
                reason: Some(HealthReason::InitialHealthChecking),
                description: Some("Initial health checks in progress".to_owned()),
            },
            Standing::Healthy => {
                TargetHealth { state: HealthState::Healthy, reason: None, description: None }
            }
            Standing::Unhealthy => {
                let (reason, description) = match self.fault {
                    Some(Verdict::Mismatch(code)) if kind == Kind::Application => (
                        HealthReason::ResponseCodeMismatch,
                        format!("Health checks failed with these codes: [{code}]"),
                    ),
                    Some(Verdict::Timeout) if kind == Kind::Application => {
                        (HealthReason::Timeout, "Request timed out".to_owned())
                    }
                    _ => (HealthReason::FailedHealthChecks, "Health checks failed".to_owned()),
                };
                TargetHealth {
                    state: HealthState::Unhealthy,
                    reason: Some(reason),
                    description: Some(description),
                }
            }
        }
    }
}

impl Standing {
    /// The one that `as u8` made.
    pub(in super::super) fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::New,
            1 => Self::Healthy,
            _ => Self::Unhealthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { first: 1, healthy: 3, unhealthy: 2 };

    /// What a target is after each of the answers: `+` good, `-` bad.
    fn standings(answers: &str, thresholds: Thresholds) -> String {
        let mut machine = Machine::default();
        answers
            .chars()
            .map(|answer| {
                machine.step(if answer == '+' { Verdict::Good } else { Verdict::Failed }, thresholds);
                match machine.standing() {
                    Standing::New => 'n',
                    Standing::Healthy => 'h',
                    Standing::Unhealthy => 'u',
                }
            })
            .collect()
    }

    #[test]
    fn thresholds_count_equal_answers_in_a_row() {
        assert_eq!(standings("+", THRESHOLDS), "h");
        assert_eq!(standings("-+", THRESHOLDS), "nh");
        assert_eq!(standings("--", THRESHOLDS), "nu");
        assert_eq!(standings("--+++", THRESHOLDS), "nuuuh");
        assert_eq!(standings("--++-+++", THRESHOLDS), "nuuuuuuh");
        assert_eq!(standings("+-+-+--", THRESHOLDS), "hhhhhhu");
    }

    #[test]
    fn a_network_load_balancer_believes_only_the_whole_threshold() {
        assert_eq!(standings("+++", Thresholds { first: 3, ..THRESHOLDS }), "nnh");
        assert_eq!(standings("++-+++", Thresholds { first: 3, ..THRESHOLDS }), "nnnnnh");
    }

    #[test]
    fn the_reason_is_that_of_the_last_failure() {
        let health = |verdicts: &[Verdict], kind| {
            let mut machine = Machine::default();
            for verdict in verdicts {
                machine.step(*verdict, THRESHOLDS);
            }
            let health = machine.health(kind);
            (health.state, health.reason, health.description.unwrap_or_default())
        };
        let unhealthy = |reason, text: &str| (HealthState::Unhealthy, Some(reason), text.to_owned());
        let failed = unhealthy(HealthReason::FailedHealthChecks, "Health checks failed");
        assert_eq!(
            health(&[Verdict::Failed, Verdict::Mismatch(502)], Kind::Application),
            unhealthy(HealthReason::ResponseCodeMismatch, "Health checks failed with these codes: [502]"),
        );
        assert_eq!(
            health(&[Verdict::Failed, Verdict::Timeout, Verdict::Good], Kind::Application),
            unhealthy(HealthReason::Timeout, "Request timed out"),
        );
        assert_eq!(health(&[Verdict::Failed; 2], Kind::Application), failed);
        assert_eq!(health(&[Verdict::Mismatch(500); 2], Kind::Network), failed);
        assert_eq!(health(&[Verdict::Good], Kind::Network), (HealthState::Healthy, None, String::new()));
    }
}
