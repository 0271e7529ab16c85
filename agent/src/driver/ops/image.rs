//! Images: looked up first, pulled when the operator's wish or their absence asks for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Hands, Provided, daemon, patiently};
use crate::backoff::Backoff;
use crate::clock::now;
use crate::config::PullBehavior;
use crate::engine::Image;
use crate::runtime::{ImageInfo, PullCredentials, PullRequest, Runtime, RuntimeError};

/// Attempts to pull when the registry fails in a way that may pass; a user waits for the verdict.
const PULL_ATTEMPTS_MAX: usize = 3;
const PULL_RETRY_MIN: Duration = Duration::from_millis(500);
const PULL_RETRY_MAX: Duration = Duration::from_secs(2);

impl<R: Runtime> Hands<R> {
    /// Sees that the image is on the host, in the way that the operator wants.
    pub(in crate::driver) async fn provide(&self, image: String) -> Answer {
        let local = match patiently(|| self.runtime.image(&image)).await {
            Ok(found) => Some(found),
            Err(RuntimeError::NotFound(_)) => None,
            Err(error) => {
                let outcome = Err(format!("CannotInspectImageError: {error}"));
                return Answer::Provided { image, outcome };
            }
        };
        let outcome = match local {
            Some(found) if !self.must_pull(&image, &found) => Ok(provided(found, None)),
            local => self.fetch(&image, local).await,
        };
        if outcome.is_ok() {
            self.note_use(&image);
        }
        Answer::Provided { image, outcome }
    }

    /// Whether a local copy is not enough. One that no registry knows cannot be pulled, and one named by digest cannot
    /// have changed.
    fn must_pull(&self, image: &str, local: &ImageInfo) -> bool {
        match self.config.pull_behavior {
            PullBehavior::Default => local.digest.is_some() && !image.contains('@'),
            PullBehavior::Always => true,
            PullBehavior::Once => !self.ledger.with(|entries| entries.images.contains_key(image)),
            PullBehavior::PreferCached => false,
        }
    }

    async fn fetch(&self, image: &str, local: Option<ImageInfo>) -> Result<Provided, String> {
        let started_at = now();
        let failure = match self.pull(image).await {
            Ok(()) => {
                let times = Some((started_at, now()));
                self.ledger.update(|entries| entries.note_pull(image, now()));
                let found = patiently(|| self.runtime.image(image)).await;
                return found.map(|found| provided(found, times)).map_err(|error| cannot_pull(&error));
            }
            Err(failure) => failure,
        };
        match local {
            Some(found) if self.config.pull_behavior == PullBehavior::Default => {
                tracing::warn!(image, "cannot be pulled, going on with the local copy: {failure}");
                Ok(provided(found, None))
            }
            Some(_) | None => Err(cannot_pull(&failure)),
        }
    }

    async fn pull(&self, image: &str) -> Result<(), RuntimeError> {
        let mut backoff = Backoff::new(PULL_RETRY_MIN, PULL_RETRY_MAX);
        let mut attempt = 1;
        loop {
            let request = PullRequest {
                reference: image.to_owned(),
                credentials: self.credentials_for(image),
                inactivity: self.config.pull_inactivity_timeout,
            };
            let limit = self.config.pull_timeout;
            let outcome = tokio::time::timeout(limit, self.runtime.pull(request)).await;
            match outcome.unwrap_or(Err(RuntimeError::TimedOut(limit))) {
                Err(RuntimeError::Unavailable(_)) => {}
                Err(error) if attempt < PULL_ATTEMPTS_MAX && may_pass(&error) => attempt += 1,
                settled => return settled,
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    fn credentials_for(&self, image: &str) -> Option<PullCredentials> {
        let (server, known) = self.config.registry_auth.for_image(image)?;
        Some(PullCredentials {
            server: server.to_owned(),
            username: known.username.clone(),
            password: known.password.clone(),
            auth: known.auth.clone(),
            email: known.email.clone(),
        })
    }

    fn note_use(&self, image: &str) {
        if self.ledger.with(|entries| entries.images.contains_key(image)) {
            self.ledger.update(|entries| {
                if let Some(record) = entries.images.get_mut(image) {
                    record.used_at = now();
                }
            });
        }
    }
}

fn provided(found: ImageInfo, times: Option<(ecsr_api::Timestamp, ecsr_api::Timestamp)>) -> Provided {
    Provided {
        image: Image {
            digest: found.digest,
            pull_started_at: times.map(|(started, _)| started),
            pull_stopped_at: times.map(|(_, stopped)| stopped),
        },
        env: Arc::new(found.env),
    }
}

/// Whether a registry's failure may pass. What it said clearly (no such image, no access) will not.
fn may_pass(error: &RuntimeError) -> bool {
    let RuntimeError::Refused { status, message } = error else {
        return matches!(error, RuntimeError::TimedOut(_));
    };
    let lasting = [
        "not found",
        "manifest unknown",
        "denied",
        "unauthorized",
        "authentication required",
        "invalid",
        "no such host",
    ];
    *status >= 500 && !lasting.iter().any(|words| message.to_lowercase().contains(words))
}

fn cannot_pull(error: &RuntimeError) -> String {
    format!("CannotPullContainerError: {}", daemon(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_may_pass_are_tried_again() {
        let refused = |message: &str| RuntimeError::Refused { status: 500, message: message.to_owned() };
        let cases = [
            (refused("Get https://r/v2/: net/http: TLS handshake timeout"), true),
            (refused("Get https://r/v2/: dial tcp: connection refused"), true),
            (refused("manifest for r/x:1 not found: manifest unknown"), false),
            (refused("pull access denied for x, repository does not exist"), false),
            (refused("dial tcp: lookup registry-1.docker.io: no such host"), false),
            (RuntimeError::NotFound("no such image".to_owned()), false),
            (RuntimeError::TimedOut(Duration::from_mins(1)), true),
        ];
        for (error, expected) in cases {
            assert_eq!(may_pass(&error), expected, "{error}");
        }
    }
}
