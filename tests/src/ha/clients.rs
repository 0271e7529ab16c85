//! Clients that do to clusters what can be done to them, all at once and through every scheduler, and remember what
//! they saw: the histories that [`crate::linear`] checks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::trio::{HOSTS, Trio};
use crate::api::{Api, ApiError};
use crate::linear::{Model, Operation};

/// How long a client waits for an answer before it takes it for lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// How long a client stays away from a scheduler that did not answer, as whoever has several endpoints does.
const SHUNNED: Duration = Duration::from_secs(3);

/// How long a client tries to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Pause between a client's operations: many a second, and still few enough for their order to be sought.
const PAUSE: Duration = Duration::from_millis(15);

/// Errors of a connection that was never made.
const NOT_CONNECTED: [ErrorKind; 3] =
    [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];

/// The tag that holds a cluster's value.
const TAG: &str = "value";

/// What is asked of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    Delete,
    /// Sets the one tag.
    Write(u32),
    Read,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// There is no such cluster, or it is INACTIVE.
    NotThere,
    /// It is there, with that value of its tag.
    There(Option<u32>),
}

/// A cluster, as ECS has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cluster;

/// What a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Unknown,
    Inactive,
    Active(Option<u32>),
}

impl Model for Cluster {
    type State = Standing;
    type Input = Call;
    type Output = Answer;

    fn initial(&self) -> Standing {
        Standing::Unknown
    }

    fn step(&self, state: &Standing, input: &Call, output: Option<&Answer>) -> Option<Standing> {
        let (answer, next) = match (input, *state) {
            (Call::Create, Standing::Active(value)) => (Answer::Done, Standing::Active(value)),
            (Call::Create, Standing::Unknown | Standing::Inactive) => (Answer::Done, Standing::Active(None)),
            (Call::Delete | Call::Write(_), Standing::Unknown) => (Answer::NotThere, Standing::Unknown),
            (Call::Write(_), Standing::Inactive)
            | (Call::Delete, Standing::Inactive | Standing::Active(_)) => (Answer::Done, Standing::Inactive),
            (Call::Write(value), Standing::Active(_)) => (Answer::Done, Standing::Active(Some(*value))),
            (Call::Read, Standing::Active(value)) => (Answer::There(value), *state),
            (Call::Read, Standing::Unknown | Standing::Inactive) => (Answer::NotThere, *state),
        };
        // Whether the tags of an INACTIVE cluster can be written is ECS's to say, and makes no difference.
        let is_either = matches!((input, state), (Call::Write(_), Standing::Inactive));
        output.is_none_or(|seen| *seen == answer || is_either).then_some(next)
    }
}

/// What happened to each cluster.
pub type Histories = BTreeMap<String, Vec<Operation<Call, Answer>>>;

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    clusters: Vec<String>,
    apis: Vec<Api>,
    began: Instant,
    histories: Mutex<Histories>,
    answered: AtomicUsize,
    /// No value is written twice.
    value: AtomicU32,
    random: AtomicU64,
}

impl Clients {
    /// Starts `clients` of them on `clusters` clusters that nobody else knows. The same seed makes the same choices, as
    /// far as the order in which clients get their turns allows.
    pub fn start(trio: &Trio, seed: u64, clients: usize, clusters: usize) -> Self {
        let shared = Arc::new(Shared {
            clusters: (0..clusters).map(|number| format!("h{seed}-{number}")).collect(),
            apis: (0..HOSTS).map(|host| trio.api(host)).collect(),
            began: Instant::now(),
            histories: Mutex::default(),
            answered: AtomicUsize::new(0),
            value: AtomicU32::new(1),
            random: AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(shared.clone().work(stopped.clone()));
        }
        Self { shared, stop, tasks }
    }

    /// Waits until so many further operations were answered.
    pub async fn await_answers(&self, count: usize) {
        let target = self.shared.answered.load(Ordering::Relaxed) + count;
        crate::wait::until(&format!("{count} operations to be answered"), async || {
            let answered = self.shared.answered.load(Ordering::Relaxed);
            if answered >= target { Ok(()) } else { Err(answered) }
        })
        .await;
    }

    /// Ends them, once what they wait for was answered or given up.
    ///
    /// # Panics
    /// When one of them did.
    pub async fn finish(mut self) -> Histories {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no client meets what it does not expect");
        }
        let histories = std::mem::take(&mut *self.shared.histories());
        histories.into_iter().map(|(name, history)| (name, without_unseen(history))).collect()
    }
}

impl Shared {
    async fn work(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let mut shunned: Option<(usize, Instant)> = None;
        while !*stopped.borrow() {
            let cluster = self.clusters[self.below(self.clusters.len())].clone();
            let host = self.below(self.apis.len());
            if shunned.is_some_and(|(silent, until)| silent == host && Instant::now() < until) {
                continue;
            }
            let api = self.apis[host].clone();
            let input = match self.below(12) {
                0 => Call::Delete,
                1 | 2 => Call::Create,
                3..=6 => Call::Write(self.value.fetch_add(1, Ordering::Relaxed)),
                _ => Call::Read,
            };
            if !takes_connections(&api.address).await {
                continue;
            }
            let began = self.now();
            let outcome = tokio::time::timeout(ANSWER_TIMEOUT, call(&api, &cluster, input)).await;
            if outcome.is_err() {
                shunned = Some((host, Instant::now() + SHUNNED));
            }
            let ended = match outcome.unwrap_or(Outcome::Lost) {
                Outcome::Answered(answer) => Some((self.now(), answer)),
                // Whatever a read would have said changes nothing.
                Outcome::Lost if input != Call::Read => None,
                Outcome::Lost | Outcome::NotBegun => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if ended.is_some() {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            self.histories().entry(cluster).or_default().push(Operation { input, began, ended });
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn histories(&self) -> std::sync::MutexGuard<'_, Histories> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("tests take less than centuries")
    }

    /// A number below `bound`, by Steele and Vigna's SplitMix.
    fn below(&self, bound: usize) -> usize {
        let mut mixed = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bound = u64::try_from(bound).expect("a list is shorter than 2^64");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("it is below a length")
    }
}

/// Whether a connection can be made. Clients do not wait for long at a host that is cut off: an operation that is
/// given up there is one more of which nobody knows anything.
async fn takes_connections(address: &str) -> bool {
    matches!(tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// What a client knows of an operation.
enum Outcome {
    Answered(Answer),
    /// Nobody was there to take it.
    NotBegun,
    /// Nobody knows what became of it.
    Lost,
}

/// One operation.
async fn call(api: &Api, cluster: &str, input: Call) -> Outcome {
    let outcome = match input {
        Call::Create => api.try_call("CreateCluster", json!({"clusterName": cluster})).await,
        Call::Delete => api.try_call("DeleteCluster", json!({"cluster": cluster})).await,
        Call::Write(value) => {
            let arn = format!("arn:aws:ecs:{}:123456789012:cluster/{cluster}", api.region);
            let tags = json!([{"key": TAG, "value": value.to_string()}]);
            api.try_call("TagResource", json!({"resourceArn": arn, "tags": tags})).await
        }
        Call::Read => {
            api.try_call("DescribeClusters", json!({"clusters": [cluster], "include": ["TAGS"]})).await
        }
    };
    match outcome {
        Ok(answer) if input == Call::Read => Outcome::Answered(seen(&answer)),
        Ok(_) => Outcome::Answered(Answer::Done),
        Err(error) => refused(&error, input),
    }
}

fn seen(answer: &Value) -> Answer {
    let cluster = &answer["clusters"][0];
    if cluster["status"] != "ACTIVE" {
        return Answer::NotThere;
    }
    let tags = cluster["tags"].as_array().into_iter().flatten();
    let value = tags.filter(|tag| tag["key"] == TAG).find_map(|tag| tag["value"].as_str()?.parse().ok());
    Answer::There(value)
}

fn refused(error: &ApiError, input: Call) -> Outcome {
    match error {
        ApiError::Unreachable(error) if NOT_CONNECTED.contains(&error.kind()) => Outcome::NotBegun,
        ApiError::Unreachable(_) => Outcome::Lost,
        ApiError::Refused { status, .. } if *status >= 500 => Outcome::Lost,
        ApiError::Refused { .. } if input == Call::Read => panic!("a read is refused: {error}"),
        ApiError::Refused { code, .. } => {
            let is_known =
                ["ClusterNotFoundException", "ResourceNotFoundException", "InvalidParameterException"];
            assert!(is_known.contains(&code.as_str()), "{input:?} is refused: {error}");
            Outcome::Answered(Answer::NotThere)
        }
    }
}

/// Leaves out the writes of which nobody knows whether they took place, and of which nobody ever saw anything. That
/// changes no verdict: if one of them took place, the next thing that was done replaced it unseen. But each of them
/// would double what is to be searched.
fn without_unseen(history: Vec<Operation<Call, Answer>>) -> Vec<Operation<Call, Answer>> {
    let seen: BTreeSet<u32> = history
        .iter()
        .filter_map(|operation| match operation.ended {
            Some((_, Answer::There(value))) => value,
            Some((_, Answer::Done | Answer::NotThere)) | None => None,
        })
        .collect();
    let is_unseen = |operation: &Operation<Call, Answer>| match operation.input {
        Call::Write(value) => operation.ended.is_none() && !seen.contains(&value),
        Call::Create | Call::Delete | Call::Read => false,
    };
    history.into_iter().filter(|operation| !is_unseen(operation)).collect()
}
