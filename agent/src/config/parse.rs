//! The forms that values come in: Go durations, JSON lists and maps, port ranges, registry credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    CLEANUP_WAIT, CLEANUP_WAIT_MIN, ConfigError, IMAGE_CLEANUP_INTERVAL, IMAGE_CLEANUP_INTERVAL_MIN,
    IMAGE_MINIMUM_AGE, IMAGES_PER_CYCLE, ImageCleanup, PullBehavior,
};

/// Named values, wherever they come from; an empty value is the same as none.
pub(super) struct Source<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

/// Credentials by registry.
#[derive(Clone, Default)]
pub struct RegistryAuth {
    entries: BTreeMap<String, RegistryCredentials>,
}

/// What a registry wants to know. Either a name and a password, or both encoded in `auth`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RegistryCredentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) auth: Option<String>,
    pub(crate) email: Option<String>,
}

impl RegistryAuth {
    /// The credentials for an image, and the registry that they belong to: the longest prefix wins.
    pub(crate) fn for_image(&self, image: &str) -> Option<(&str, &RegistryCredentials)> {
        let image = image.trim_start_matches("https://");
        self.entries
            .iter()
            .filter(|(registry, _)| registry_matches(registry, image))
            .max_by_key(|(registry, _)| registry.len())
            .map(|(registry, credentials)| (registry.as_str(), credentials))
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

fn registry_matches(registry: &str, image: &str) -> bool {
    let registry = registry.trim_start_matches("https://").trim_end_matches('/');
    let first = image.split('/').next().unwrap_or_default();
    let is_hub_image =
        !image.contains('/') || !(first.contains('.') || first.contains(':') || first == "localhost");
    if is_hub_image {
        return registry.starts_with("index.docker.io") || registry == "docker.io";
    }
    image.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/'))
}

impl<'a> Source<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Source { get }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::Invalid { name, value, expected }),
        }
    }

    fn json<T: DeserializeOwned>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.parsed(name, expected, |value| serde_json::from_str(value).ok())
    }

    pub(super) fn number<T: FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.parsed(name, expected, |value| value.parse().ok())
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, ConfigError> {
        self.parsed(name, "true or false", |value| match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })
    }

    pub(super) fn string_map(&self, name: &'static str) -> Result<BTreeMap<String, String>, ConfigError> {
        Ok(self.json(name, "a JSON object of strings")?.unwrap_or_default())
    }

    pub(super) fn strings(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        self.json(name, "a JSON list of strings")
    }

    pub(super) fn ports(&self, name: &'static str) -> Result<Option<Vec<u16>>, ConfigError> {
        self.json(name, "a JSON list of ports")
    }

    pub(super) fn port_range(&self, name: &'static str) -> Result<Option<(u16, u16)>, ConfigError> {
        self.parsed(name, "a port range such as 30000-32767", parse_port_range)
    }

    pub(super) fn duration(&self, name: &'static str) -> Result<Option<Duration>, ConfigError> {
        self.parsed(name, "a duration such as 30s, 1m30s or 3h", parse_duration)
    }

    pub(super) fn at_least(
        &self,
        name: &'static str,
        default: Duration,
        min: Duration,
    ) -> Result<Duration, ConfigError> {
        Ok(self.duration(name)?.unwrap_or(default).max(min))
    }

    /// Amazon's agent ignores a wait below one second.
    pub(super) fn cleanup_wait(&self) -> Result<Duration, ConfigError> {
        let wait = self.duration("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION")?;
        Ok(wait.filter(|wait| *wait >= CLEANUP_WAIT_MIN).unwrap_or(CLEANUP_WAIT))
    }

    pub(super) fn pids_limit(&self) -> Result<Option<i64>, ConfigError> {
        self.parsed("ECS_TASK_PIDS_LIMIT", "a number from 1 to 4194304", |value| {
            value.parse().ok().filter(|limit| (1..=4_194_304).contains(limit))
        })
    }

    pub(super) fn pull_behavior(&self) -> Result<PullBehavior, ConfigError> {
        let expected = "default, always, once or prefer-cached";
        let behavior = self.parsed("ECS_IMAGE_PULL_BEHAVIOR", expected, |value| match value {
            "default" => Some(PullBehavior::Default),
            "always" => Some(PullBehavior::Always),
            "once" => Some(PullBehavior::Once),
            "prefer-cached" => Some(PullBehavior::PreferCached),
            _ => None,
        })?;
        Ok(behavior.unwrap_or(PullBehavior::Default))
    }

    pub(super) fn image_cleanup(&self, behavior: PullBehavior) -> Result<Option<ImageCleanup>, ConfigError> {
        let cleanup = ImageCleanup {
            interval: self.at_least(
                "ECS_IMAGE_CLEANUP_INTERVAL",
                IMAGE_CLEANUP_INTERVAL,
                IMAGE_CLEANUP_INTERVAL_MIN,
            )?,
            minimum_age: self.duration("ECS_IMAGE_MINIMUM_CLEANUP_AGE")?.unwrap_or(IMAGE_MINIMUM_AGE),
            per_cycle: self
                .number("ECS_NUM_IMAGES_DELETE_PER_CYCLE", "a number of images")?
                .unwrap_or(IMAGES_PER_CYCLE)
                .max(1),
            excluded: self
                .text("ECS_EXCLUDE_UNTRACKED_IMAGE")
                .map(|list| list.split(',').map(|image| image.trim().to_owned()).collect())
                .unwrap_or_default(),
        };
        let disabled = self.flag("ECS_DISABLE_IMAGE_CLEANUP")?.unwrap_or(false);
        Ok((!disabled && behavior != PullBehavior::PreferCached).then_some(cleanup))
    }

    pub(super) fn registry_auth(&self) -> Result<RegistryAuth, ConfigError> {
        let expected = "docker or dockercfg";
        let kind = self.parsed("ECS_ENGINE_AUTH_TYPE", expected, |value| {
            ["docker", "dockercfg"].contains(&value).then_some(())
        })?;
        let entries = match kind {
            Some(()) => self.json("ECS_ENGINE_AUTH_DATA", "a JSON object of credentials by registry")?,
            None => None,
        };
        Ok(RegistryAuth { entries: entries.unwrap_or_default() })
    }
}

/// The endpoint with a scheme: `https://` unless it has one.
pub(super) fn with_scheme(host: &str) -> String {
    let host = host.trim_end_matches('/');
    if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
}

/// The lines of an `ecs.config`: comments and blank lines skipped, `export` and quotes taken off.
pub(super) fn key_values(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(|line| line.trim().trim_start_matches("export ").trim())
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), unquoted(value.trim()).to_owned()))
        .collect()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// `first-last`, both ports valid and in order.
pub(crate) fn parse_port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (range.0 > 0 && range.0 <= range.1).then_some(range)
}

/// A duration as Go writes one: numbers with units, such as `1h30m` or `1.5s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_len].parse().ok()?;
        let unit = &rest[number_len..];
        let (seconds, unit_len) =
            [("ms", 0.001), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
                .iter()
                .find(|(name, _)| unit.starts_with(name))
                .map(|(name, seconds)| (*seconds, name.len()))?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &unit[unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("3h", Some(10_800_000)),
            ("250ms", Some(250)),
            ("1.5s", Some(1500)),
            ("30", None),
            ("-1s", None),
            ("", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_longest_registry_prefix_gives_the_credentials() {
        let data = r#"{"https://index.docker.io/v1/":{"auth":"hub"},"reg.example:5000":{"auth":"all"},
            "reg.example:5000/team":{"auth":"team"}}"#;
        let auth = RegistryAuth { entries: serde_json::from_str(data).unwrap() };
        let cases = [
            ("busybox:latest", Some("hub")),
            ("library/busybox", Some("hub")),
            ("reg.example:5000/x", Some("all")),
            ("reg.example:5000/team/x:1", Some("team")),
            ("reg.example:50001/x", None),
            ("other.example/x", None),
        ];
        for (image, expected) in cases {
            let found = auth.for_image(image).and_then(|(_, credentials)| credentials.auth.as_deref());
            assert_eq!(found, expected, "{image}");
        }
    }
}
