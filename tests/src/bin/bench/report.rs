//! The figures of a run, as a table for people and as one object for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::memory::Sizes;
use crate::{COUNT, seconds};

const MIB: f64 = 1024.0 * 1024.0;

/// What is measured, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Concurrent create and start calls for all copies, straight to the engine.
    Floor,
    /// `ecsr service create --wait`.
    Ecsr,
    /// `docker-compose up --scale`.
    Compose,
    /// `docker service create --replicas`.
    Swarm,
    /// One create and start call, straight to the engine.
    FloorOfOne,
    /// From a kill to another container being started as soon as the engine tells of the death, straight to the engine.
    BareReplacement,
    /// From `docker kill` to the replacement being RUNNING.
    Replacement,
}

/// Figures and what each is a multiple of.
const STARTS: [Figure; 4] = [Figure::Floor, Figure::Ecsr, Figure::Compose, Figure::Swarm];
const REPLACEMENTS: [Figure; 3] = [Figure::FloorOfOne, Figure::BareReplacement, Figure::Replacement];

impl Figure {
    fn title(self) -> String {
        match self {
            Figure::Floor => format!("Docker API, {COUNT} concurrent create+start (the floor)"),
            Figure::Ecsr => format!("ecsr service create --count {COUNT} --wait"),
            Figure::Compose => format!("docker-compose up -d --scale web={COUNT}"),
            Figure::Swarm => format!("docker service create --replicas {COUNT}"),
            Figure::FloorOfOne => "Docker API, one create+start (the floor)".to_owned(),
            Figure::BareReplacement => "Docker API, kill, its end, create+start".to_owned(),
            Figure::Replacement => "ecsr, docker kill to replacement RUNNING".to_owned(),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Figure::Floor => "floor",
            Figure::Ecsr => "ecsr",
            Figure::Compose => "compose",
            Figure::Swarm => "swarm",
            Figure::FloorOfOne => "floorOfOne",
            Figure::BareReplacement => "bareReplacement",
            Figure::Replacement => "replacement",
        }
    }

    fn reach(self) -> Option<f64> {
        match self {
            Figure::Ecsr => Some(1.15),
            Figure::Replacement => Some(1.3),
            Figure::Floor
            | Figure::Compose
            | Figure::Swarm
            | Figure::FloorOfOne
            | Figure::BareReplacement => None,
        }
    }
}

/// All of a run.
#[derive(Debug)]
pub struct Report {
    build: String,
    rounds: usize,
    engine: String,
    times: BTreeMap<Figure, Vec<Duration>>,
    notes: Vec<String>,
    sizes: Option<Sizes>,
}

impl Report {
    pub fn new(build: &str, rounds: usize, engine: &str) -> Self {
        let (times, notes) = (BTreeMap::new(), Vec::new());
        Self { build: build.to_owned(), rounds, engine: engine.to_owned(), times, notes, sizes: None }
    }

    /// One measurement of `figure`.
    pub fn take(&mut self, figure: Figure, time: Duration) {
        self.times.entry(figure).or_default().push(time);
    }

    /// Why something is missing.
    pub fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    pub fn sizes(&mut self, sizes: Sizes) {
        self.sizes = Some(sizes);
    }

    fn median(&self, figure: Figure) -> Option<f64> {
        median(self.times.get(&figure)?)
    }

    fn ratio(&self, figure: Figure, floor: Figure) -> Option<f64> {
        Some(self.median(figure)? / self.median(floor)?)
    }

    /// The report as one object; times in seconds, sizes in bytes.
    pub fn to_json(&self) -> Value {
        let section = |figures: &[Figure]| {
            let of = |figure: &Figure| {
                let all: Vec<f64> = self.times.get(figure)?.iter().map(|time| seconds(*time)).collect();
                let ratio = self.ratio(*figure, figures[0]).map(|ratio| (ratio * 1000.0).round() / 1000.0);
                let value = json!({"median": self.median(*figure), "ratio": ratio, "all": all});
                Some((figure.key().to_owned(), value))
            };
            Value::Object(figures.iter().filter_map(of).collect())
        };
        let sizes = self.sizes.map(|sizes| {
            json!({
                "agentResident": sizes.fresh.agent,
                "agentResidentAfter": sizes.used.agent,
                "schedulerResident": sizes.fresh.scheduler,
                "schedulerResidentAfter": sizes.used.scheduler,
                "binary": sizes.binary,
            })
        });
        json!({
            "build": self.build,
            "engine": self.engine,
            "count": COUNT,
            "rounds": self.rounds,
            "start": section(&STARTS),
            "replacement": section(&REPLACEMENTS),
            "sizes": sizes,
            "notes": self.notes,
        })
    }

    fn rows(&self, f: &mut fmt::Formatter<'_>, figures: &[Figure]) -> fmt::Result {
        for figure in figures {
            let (Some(median), Some(ratio)) = (self.median(*figure), self.ratio(*figure, figures[0])) else {
                continue;
            };
            let reach = figure.reach().map_or_else(String::new, |reach| format!("   (to reach: {reach} x)"));
            writeln!(f, "  {:<56} {median:>7.3} s  {ratio:>5.2} x{reach}", figure.title())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, rounds, engine, .. } = self;
        writeln!(f, "{build} build, Docker {engine}, medians of {rounds} rounds")?;
        writeln!(f, "\n{COUNT} copies of a one-container task with a dynamic port, to all running")?;
        self.rows(f, &STARTS)?;
        writeln!(f, "\na killed container")?;
        self.rows(f, &REPLACEMENTS)?;
        if let Some(sizes) = &self.sizes {
            writeln!(f, "\nsizes")?;
            for (title, bytes, reach) in [
                ("agent, resident, idle", sizes.fresh.agent, "12 MiB"),
                ("agent, resident, idle after all this", sizes.used.agent, "12 MiB"),
                ("scheduler, resident, idle", sizes.fresh.scheduler, "25 MiB"),
                ("scheduler, resident, idle after all this", sizes.used.scheduler, "25 MiB"),
                ("binary", sizes.binary, "30 MB"),
            ] {
                writeln!(f, "  {title:<56} {:>7.1} MiB        (to reach: {reach})", mib(bytes))?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "\nnote: {note}"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size that is printed with one decimal")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// The middle of the measurements, in seconds; of an even number the mean of the two in the middle.
pub fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted: Vec<f64> = times.iter().map(|time| seconds(*time)).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_median_is_the_middle() {
        let check = |millis: &[u64], expected: Option<f64>| assert_eq!(median(&times(millis)), expected);
        check(&[], None);
        check(&[500], Some(0.5));
        check(&[875, 125, 250], Some(0.25));
        check(&[125, 250, 500, 875], Some(0.375));
    }

    #[test]
    fn ratios_are_to_the_floor_and_what_was_not_measured_is_left_out() {
        let mut report = Report::new("dev", 1, "20.10.24");
        report.take(Figure::Floor, Duration::from_secs(2));
        report.take(Figure::Ecsr, Duration::from_secs(3));
        report.note("no compose");
        assert_eq!(report.to_json()["start"]["ecsr"], json!({"median": 3.0, "ratio": 1.5, "all": [3.0]}));
        assert_eq!(report.to_json()["start"]["compose"], Value::Null);
        let table = report.to_string();
        assert!(table.contains("1.50 x") && table.contains("note: no compose"), "{table}");
        assert!(!table.contains("docker service"), "{table}");
    }
}
