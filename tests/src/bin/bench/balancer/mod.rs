//! `ecsr-bench balancer`: the data plane beside haproxy's, before the same four web servers, with as many threads, asked
//! by the same wrk. Rounds alternate between the two, so that whatever else the machine does is shared; the medians'
//! ratios are the result. And what 10,000 idle connections hold, and how soon a fresh service is served.

mod contender;
mod exposed;
mod idle;
mod report;
mod wrk;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use ecsr_tests::binary;
use ecsr_tests::world::free_port;

use self::contender::{Haproxy, Own};
use self::report::{Figure, Report};
use crate::{Args, rest};

/// Web servers behind the balancers.
const BACKENDS: usize = 4;
/// Rounds of exposing a service.
const EXPOSURES_MAX: usize = 3;

/// The ports on which a contender passes HTTP and TCP on to the web servers.
#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    tcp: u16,
}

impl Ports {
    fn free() -> Self {
        Self { http: free_port(), tcp: free_port() }
    }
}

/// The web servers. Dropping them ends them.
struct Backends {
    ports: Vec<u16>,
    processes: Vec<Child>,
}

impl Backends {
    fn start() -> Self {
        let ports: Vec<u16> = (0..BACKENDS).map(|_| free_port()).collect();
        let start = |port: &u16| {
            let mut command = Command::new(binary::backend());
            let command = command.arg(port.to_string()).stdin(Stdio::null());
            command.spawn().expect("the web server can be started")
        };
        let processes = ports.iter().map(start).collect();
        Self { ports, processes }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself; gone is gone.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The whole comparison.
pub(super) async fn run(args: &Args) -> Report {
    let dir = tempfile::Builder::new().prefix("ecsr-bench-").tempdir().expect("a directory can be made");
    let mut report = compare(args, dir.path()).await;
    for round in 1..=args.rounds.min(EXPOSURES_MAX) {
        eprintln!("exposing, round {round}");
        report.take_exposed(exposed::measure().await);
    }
    report
}

async fn compare(args: &Args, dir: &Path) -> Report {
    let backends = Backends::start();
    let own = Own::start(dir, &backends.ports).await;
    let haproxy = Haproxy::start(dir, &backends.ports).await;
    let mut report = Report::new(&args.build, args.rounds, contender::haproxy_version());
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (figure, port) in [
            (Figure::HaproxyHttp, haproxy.ports.http),
            (Figure::OwnHttp, own.ports.http),
            (Figure::HaproxyTcp, haproxy.ports.tcp),
            (Figure::OwnTcp, own.ports.tcp),
        ] {
            rest().await;
            report.take(figure, wrk::run(port).await);
        }
    }
    report.idle(idle::measure(own.ports.http, own.process_id()).await);
    report
}
