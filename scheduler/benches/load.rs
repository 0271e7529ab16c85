//! How long a start takes that has much to read: a journal whose snapshot holds so many tasks, opened, verified,
//! decoded and applied as a scheduler does it. The snapshot is made first, which is measured too.
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

/// About as large as the chunks that a scheduler writes.
const CHUNK_BYTES: usize = 1_000_000;

const HEADER: &str =
    r#"{"v":2,"founded":{"account":"123456789012","region":"us-east-1"},"at":1795396551.019}"#;

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let Ok(given) = words.map(|word| word.parse()).collect::<Result<Vec<usize>, _>>() else {
        eprintln!("usage: load [TASKS...]");
        return ExitCode::from(2);
    };
    let sizes = if given.is_empty() { SIZES.to_vec() } else { given };
    println!("{:>10} {:>10} {:>10} {:>12} {:>14}", "tasks", "write, s", "load, s", "tasks/s", "bytes/task");
    for tasks in sizes {
        measure(tasks);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}", load.split(' ').next().unwrap_or_default());
    ExitCode::SUCCESS
}

fn measure(tasks: usize) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let began = Instant::now();
    write(dir.path(), tasks);
    let written = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(EmbeddedJournal::path_in(dir.path())).map_or(0, |found| found.len());

    let began = Instant::now();
    let mut journal = EmbeddedJournal::open(dir.path()).expect("the journal is sound");
    let recovered = recover(&mut journal, home()).expect("the journal is ours");
    let loaded = began.elapsed().as_secs_f64();
    assert_eq!(recovered.state.tasks.len(), tasks, "every task is there");
    let each = bytes / u64::try_from(tasks.max(1)).expect("a count fits");
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown, not counted with")]
    let rate = tasks as f64 / loaded;
    println!("{tasks:>10} {written:>10.3} {loaded:>10.3} {rate:>12.0} {each:>14}");
}

fn home() -> Home {
    Home { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
}

fn write(dir: &Path, tasks: usize) {
    let mut journal = EmbeddedJournal::open(dir).expect("an empty directory");
    let epoch = journal.load(&mut |_| Ok(())).expect("an empty journal").epoch;
    let (mut chunk, mut number) = (format!("{HEADER}\n"), 0);
    let lines = (0..tasks.div_ceil(TASKS_PER_INSTANCE)).map(instance).chain((0..tasks).map(task));
    for line in lines {
        chunk.push_str(&line);
        chunk.push('\n');
        if chunk.len() > CHUNK_BYTES {
            journal.snapshot_chunk(epoch, 0, number, chunk.as_bytes()).expect("there is room");
            number += 1;
            chunk.truncate(HEADER.len() + 1);
        }
    }
    journal.snapshot_chunk(epoch, 0, number, chunk.as_bytes()).expect("there is room");
    journal.snapshot_end(epoch, 0, number + 1).expect("there is room");
}

fn instance(number: usize) -> String {
    let zone = ["a", "b", "c"][number % 3];
    format!(
        r#"{{"InstanceSaved":{{"key":{{"cluster":"scale","id":"{number:032x}"}},"status":"Active","connected":true,"ec2_instance_id":null,"resources":{{"cpu":65536,"memory":262144,"reserved_ports_tcp":[22,2375],"reserved_ports_udp":[],"gpus":[]}},"attributes":{{"ecs.availability-zone":"{zone}"}},"version_info":{{}},"tags":{{}},"registered_at":1795396551.019,"inactive_at":null,"version":1}}}}"#
    )
}

/// A service's task that runs, with all that its agent reported.
fn task(number: usize) -> String {
    let instance = number / TASKS_PER_INSTANCE;
    let port = 32_768 + number % TASKS_PER_INSTANCE;
    // Spread over the key space, as random ids are.
    let id = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut line = String::with_capacity(1500);
    let _ = write!(
        line,
        r#"{{"TaskPlaced":{{"key":{{"cluster":"scale","id":"{id:032x}"}},"definition":{{"family":"web","revision":1}},"instance":"{instance:032x}","origin":{{"Service":{{"name":"web-{service}","deployment":1234567890123456789}}}},"group":"service:web-{service}","started_by":null,"demand":{{"cpu":10,"memory":32,"ports_tcp":[],"ports_udp":[],"gpus":0,"attributes":[]}},"overrides":{{}},"launch_type":"External","availability_zone":"a","enable_execute_command":false,"desired":"Running","known":"Running","acknowledged":true,"containers":[{{"name":"web","id":"{id:032x}","essential":true,"known":"Running","runtime_id":"{id:064x}","image_digest":"sha256:{number:064x}","exit_code":null,"reason":null,"network_bindings":[{{"bindIP":"0.0.0.0","containerPort":8080,"hostPort":{port},"protocol":"tcp"}}],"health":"Unknown","health_checked":false}}],"tags":{{}},"times":{{"created":1795396551.019,"pull_started":1795396551.1,"pull_stopped":1795396551.2,"started":1795396551.3,"stopping":null,"execution_stopped":null,"stopped":null}},"stop":null,"version":3}}}}"#,
        service = number / 1000,
    );
    line
}
