//! The figures of a run of the balancer's comparison, as a table for people and as one object for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::idle::Idle;
use super::wrk::{Seen, THREADS};
use crate::report::{median, mib};
use crate::{COUNT, seconds};

/// What is measured, each contender's beside the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    HaproxyHttp,
    OwnHttp,
    HaproxyTcp,
    OwnTcp,
}

/// All of a run.
#[derive(Debug)]
pub struct Report {
    build: String,
    rounds: usize,
    haproxy: String,
    seen: BTreeMap<Figure, Vec<Seen>>,
    exposed: Vec<Duration>,
    idle: Option<Idle>,
}

impl Report {
    pub fn new(build: &str, rounds: usize, haproxy: String) -> Self {
        let (seen, exposed) = (BTreeMap::new(), Vec::new());
        Self { build: build.to_owned(), rounds, haproxy, seen, exposed, idle: None }
    }

    /// One measurement of `figure`.
    pub fn take(&mut self, figure: Figure, seen: Seen) {
        self.seen.entry(figure).or_default().push(seen);
    }

    pub fn take_exposed(&mut self, time: Duration) {
        self.exposed.push(time);
    }

    pub fn idle(&mut self, idle: Idle) {
        self.idle = Some(idle);
    }

    fn all(&self, figure: Figure) -> &[Seen] {
        self.seen.get(&figure).map_or(&[], Vec::as_slice)
    }

    fn rate(&self, figure: Figure) -> Option<f64> {
        let mut rates: Vec<f64> = self.all(figure).iter().map(|seen| seen.requests_per_second).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    }

    fn p99(&self, figure: Figure) -> Option<f64> {
        let times: Vec<Duration> = self.all(figure).iter().map(|seen| seen.p99).collect();
        median(&times)
    }

    fn errors(&self, figure: Figure) -> u64 {
        self.all(figure).iter().map(|seen| seen.errors).sum()
    }

    /// The report as one object; times in seconds, sizes in bytes.
    pub fn to_json(&self) -> Value {
        let of = |figure: Figure| {
            json!({
                "requestsPerSecond": self.rate(figure), "p99": self.p99(figure), "errors": self.errors(figure),
            })
        };
        let exposed: Vec<f64> = self.exposed.iter().map(|time| seconds(*time)).collect();
        json!({
            "build": self.build,
            "rounds": self.rounds,
            "haproxy": self.haproxy,
            "http": {"haproxy": of(Figure::HaproxyHttp), "ecsr": of(Figure::OwnHttp)},
            "tcp": {"haproxy": of(Figure::HaproxyTcp), "ecsr": of(Figure::OwnTcp)},
            "idle": self.idle.map(|idle| {
                json!({"connections": idle.connections, "before": idle.before, "with": idle.with})
            }),
            "exposed": {"median": median(&self.exposed), "all": exposed},
        })
    }

    fn rows(&self, f: &mut fmt::Formatter<'_>, [haproxy, own]: [Figure; 2], reach: &str) -> fmt::Result {
        let (Some(theirs), Some(ours)) = (self.rate(haproxy), self.rate(own)) else { return Ok(()) };
        let (Some(their_p99), Some(our_p99)) = (self.p99(haproxy), self.p99(own)) else { return Ok(()) };
        let row = |name: &str, rate: f64, p99: f64, errors: u64| {
            let p99 = p99 * 1e3;
            format!("  {name:<12} {rate:>9.0} requests/s   p99 {p99:>7.2} ms   {errors} errors")
        };
        writeln!(f, "{}", row("haproxy", theirs, their_p99, self.errors(haproxy)))?;
        writeln!(f, "{}", row("ecsr", ours, our_p99, self.errors(own)))?;
        writeln!(
            f,
            "  {:<12} {:>9.2} x            p99 {:>7.2} x    ({reach})",
            "",
            ours / theirs,
            our_p99 / their_p99
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, rounds, haproxy, .. } = self;
        writeln!(f, "{build} build, haproxy {haproxy}, {THREADS} threads each, medians of {rounds} rounds")?;
        writeln!(f, "\nHTTP/1.1 keep-alive to four web servers")?;
        let reach = "to reach: 0.8 x, p99 at most 1.5 x";
        self.rows(f, [Figure::HaproxyHttp, Figure::OwnHttp], reach)?;
        writeln!(f, "\nthe same through TCP")?;
        self.rows(f, [Figure::HaproxyTcp, Figure::OwnTcp], "to reach: 0.9 x")?;
        if let Some(Idle { connections, before, with }) = self.idle {
            writeln!(f, "\nresident memory")?;
            writeln!(f, "  idle {:>35.1} MiB", mib(before))?;
            writeln!(
                f,
                "  with {connections} idle connections {:>12.1} MiB   (to reach: 150 MiB)",
                mib(with)
            )?;
        }
        if let Some(time) = median(&self.exposed) {
            writeln!(f, "\necsr service create --count {COUNT} --expose")?;
            writeln!(
                f,
                "  last container running to {COUNT} healthy targets {time:>6.3} s   (to reach: 0.5 s)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_a_multiple_of_theirs() {
        let mut report = Report::new("dev", 1, "2.6.12".to_owned());
        let seen = |requests_per_second, millis| Seen {
            requests_per_second,
            p99: Duration::from_millis(millis),
            errors: 0,
        };
        report.take(Figure::HaproxyHttp, seen(20_000.0, 4));
        report.take(Figure::OwnHttp, seen(18_000.0, 5));
        let table = report.to_string();
        assert!(table.contains("0.90 x") && table.contains("1.25 x"), "{table}");
        assert_eq!(report.to_json()["http"]["ecsr"]["requestsPerSecond"], 18_000.0);
        assert!(!table.contains("idle connections"), "{table}");
    }
}
