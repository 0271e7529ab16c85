//! How long a start takes that has much to read: a journal whose snapshot holds so many tasks and that has as many
//! events after it, which is the most that a scheduler leaves, opened, verified, decoded and applied as a scheduler does
//! it. The journal is made first; or the one of a data directory is copied.
//!
//! Nothing here fails for being slow: it reports, beside the load of the machine.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use ecsr_api::arn::Home;
use ecsr_scheduler::driver::recover;
use ecsr_scheduler::journal::{EmbeddedJournal, Journal};

/// Tasks of one run unless given.
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

/// Tasks on one instance.
const TASKS_PER_INSTANCE: usize = 200;

/// Tasks of one service.
const TASKS_PER_SERVICE: usize = 1000;

/// Tasks that are made in the same second.
const TASKS_PER_SECOND: usize = 4000;

/// Events that one record holds.
const EVENTS_PER_RECORD: usize = 100;

/// About as many as a chunk holds that a scheduler writes.
const TASKS_PER_CHUNK: usize = 3000;

const HEADER: &str =
    r#"{"v":3,"founded":{"account":"123456789012","region":"us-east-1"},"at":1795396551.019}"#;

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let sizes = SIZES.map(|tasks| tasks.to_string());
    let runs = if words.is_empty() { &sizes[..] } else { &words[..] };
    println!("{:>10} {:>10} {:>10} {:>12} {:>14}", "tasks", "open, s", "load, s", "tasks/s", "bytes/task");
    for run in runs {
        let dir = tempfile::tempdir().expect("a directory can be made");
        if let Ok(tasks) = run.parse() {
            write(dir.path(), tasks);
        } else {
            let [from, to] = [Path::new(run), dir.path()].map(EmbeddedJournal::path_in);
            if std::fs::copy(from, to).is_err() {
                eprintln!("usage: load [TASKS|DATA_DIR...]");
                return ExitCode::from(2);
            }
        }
        measure(dir.path());
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}", load.split(' ').next().unwrap_or_default());
    ExitCode::SUCCESS
}

fn measure(dir: &Path) {
    let bytes = std::fs::metadata(EmbeddedJournal::path_in(dir)).map_or(0, |found| found.len());
    let began = Instant::now();
    let mut journal = EmbeddedJournal::open(dir).expect("the journal is sound");
    let opened = began.elapsed().as_secs_f64();
    let recovered = recover(&mut journal, home()).expect("the journal is ours");
    let loaded = began.elapsed().as_secs_f64();
    let tasks = recovered.state.tasks.len();
    let each = bytes / u64::try_from(tasks.max(1)).expect("a count fits");
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown, not counted with")]
    let rate = tasks as f64 / loaded;
    println!("{tasks:>10} {opened:>10.3} {loaded:>10.3} {rate:>12.0} {each:>14}");
}

fn home() -> Home {
    Home { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
}

fn write(dir: &Path, tasks: usize) {
    let mut journal = EmbeddedJournal::open(dir).expect("an empty directory");
    let epoch = journal.load(&mut |_| Ok(())).expect("an empty journal").epoch;
    let instances: Vec<String> = (0..tasks.div_ceil(TASKS_PER_INSTANCE)).map(instance).collect();
    let mut chunks = Vec::new();
    chunks.push(format!("{HEADER}\n{}", instances.concat()));
    for first in (0..tasks).step_by(TASKS_PER_CHUNK) {
        let tasks = first..tasks.min(first + TASKS_PER_CHUNK);
        let services = tasks.start / TASKS_PER_SERVICE..=(tasks.end - 1) / TASKS_PER_SERVICE;
        let rows = tasks.map(|number| task(number, number / TASKS_PER_SERVICE - services.start()));
        let rows: String = rows.collect();
        chunks.push(format!("{HEADER}\n{}{rows}", services.clone().map(like).collect::<String>()));
    }
    for (number, chunk) in (0..).zip(&chunks) {
        journal.snapshot_chunk(epoch, 0, number, chunk.as_bytes()).expect("there is room");
    }
    journal.snapshot_end(epoch, 0, u64::try_from(chunks.len()).expect("few")).expect("there is room");
    let records: Vec<Vec<u8>> = (0..tasks)
        .step_by(EVENTS_PER_RECORD)
        .map(|first| {
            let reports: Vec<String> = (first..tasks.min(first + EVENTS_PER_RECORD)).map(report).collect();
            format!(r#"{{"v":1,"at":1795396552.019,"events":[{}]}}"#, reports.join(",")).into_bytes()
        })
        .collect();
    journal.append(epoch, 1, &records).expect("there is room");
}

fn instance(number: usize) -> String {
    let zone = ["a", "b", "c"][number % 3];
    format!(
        r#"{{"InstanceSaved":{{"key":{{"cluster":"scale","id":"{number:032x}"}},"status":"Active","connected":true,"ec2_instance_id":null,"resources":{{"cpu":65536,"memory":262144,"reserved_ports_tcp":[22,2375],"reserved_ports_udp":[],"gpus":[]}},"attributes":{{"ecs.availability-zone":"{zone}"}},"version_info":{{}},"tags":{{}},"registered_at":1795396551.019,"inactive_at":null,"version":1}}}}
"#
    )
}

/// What the tasks of a service have in common.
fn like(service: usize) -> String {
    format!(
        r#"{{"like":{{"cluster":"scale","definition":{{"family":"web","revision":1}},"origin":{{"Service":{{"name":"web-{service}","deployment":{deployment}}}}},"group":"service:web-{service}","started_by":null,"demand":{{"cpu":10,"memory":32,"ports_tcp":[],"ports_udp":[],"gpus":0,"attributes":[]}},"overrides":{{}},"launch_type":"External","availability_zone":"a","enable_execute_command":false,"tags":{{}},"containers":[{{"name":"web","essential":true,"health_checked":false,"image_digest":"sha256:{service:064x}"}}]}}}}
"#,
        deployment = 1_234_567_890_123_456_789 + service,
    )
}

/// Random, but for the second at the end that the task was made in: that is what ids are ordered by.
fn id(number: usize) -> u128 {
    let random = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let second = 1_795_396_551 + number / TASKS_PER_SECOND;
    (random << 32) | second as u128
}

/// A service's task that runs, with all that its agent reported. It may lie on any instance.
fn task(number: usize, like: usize) -> String {
    let mut line = String::with_capacity(500);
    let _ = writeln!(
        line,
        r#"[{like},"{id:032x}","{instance:032x}","Running","Running",true,[["{id:032x}","Running","{id:064x}",null,null,[[8080,{port},"Tcp","AnyV4"]],"Unknown"]],[1795396551019,1795396551100,1795396551200,1795396551300,null,null,null],null,3]"#,
        id = id(number),
        instance = number / TASKS_PER_INSTANCE,
        port = 32_768 + number % TASKS_PER_INSTANCE,
    );
    line
}

/// The same report again.
fn report(number: usize) -> String {
    format!(
        r#"{{"TaskReported":{{"task":{{"cluster":"scale","id":"{id:032x}"}},"report":{{"at":1795396551.3,"known":"Running","containers":[{{"name":"web","known":"Running","runtime_id":"{id:064x}","image_digest":"sha256:{service:064x}","exit_code":null,"reason":null,"network_bindings":[{{"bindIP":"0.0.0.0","containerPort":8080,"hostPort":{port},"protocol":"tcp"}}]}}],"pull_started":1795396551.1,"pull_stopped":1795396551.2,"execution_stopped":null,"stop":null}}}}}}"#,
        id = id(number),
        service = number / TASKS_PER_SERVICE,
        port = 32_768 + number % TASKS_PER_INSTANCE,
    )
}
