//! What one call made, and how it is taken back.

use crate::elb::{Elb, Then};
use crate::output::note;

/// One thing that was made, by its ARN.
#[derive(Debug)]
pub(super) enum Made {
    LoadBalancer(String),
    TargetGroup(String),
    Listener(String),
    Rule(String),
    /// The default action of this listener, which was `404` before: no other is ever taken over.
    Default(String),
}

impl Made {
    /// Takes it back; what cannot be is said, for the failure that led here is what matters.
    pub(super) async fn undo(self, elb: &Elb) {
        let undone = match &self {
            Self::LoadBalancer(arn) => elb.delete_load_balancer(arn).await,
            Self::TargetGroup(arn) => elb.delete_target_group(arn).await,
            Self::Listener(arn) => elb.delete_listener(arn).await,
            Self::Rule(arn) => elb.delete_rule(arn).await,
            Self::Default(arn) => elb.set_default(arn, &Then::NotFound).await,
        };
        if let Err(error) = undone {
            note(&format!("{} stays: {error}", self.arn()));
        }
    }

    fn arn(&self) -> &str {
        match self {
            Self::LoadBalancer(arn)
            | Self::TargetGroup(arn)
            | Self::Listener(arn)
            | Self::Rule(arn)
            | Self::Default(arn) => arn,
        }
    }
}
