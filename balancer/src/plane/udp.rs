//! UDP: a table of flows, each with a socket of its own to its target, by which the answers find their way back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::clock;
use super::group::Tried;
use super::listen::{Door, PhaseReceiver, gone};
use super::live::InFlight;
use super::settings::Stickiness;
use super::tcp;

/// How long a flow lasts in which nothing is sent (ELB's own).
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// Most flows of a listener: each has a file descriptor. What would begin one more is dropped, as UDP may be.
const FLOWS_MAX: usize = 4096;

/// The largest datagram that there is.
const DATAGRAM_MAX: usize = 65_535;

thread_local! {
    /// Where a target's answer is on its way to its client.
    static DATAGRAM: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_MAX].into_boxed_slice());
}

#[derive(Default)]
struct Flows(Mutex<BTreeMap<SocketAddr, Arc<Flow>>>);

struct Flow {
    target: UdpSocket,
    in_flight: InFlight,
    used_at: AtomicU64,
}

/// Until the listener is gone.
pub(super) async fn serve(socket: UdpSocket, door: Arc<Door>, mut phase: PhaseReceiver) {
    let socket = Arc::new(socket);
    let flows = Arc::new(Flows::default());
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut datagram) => received,
            () = gone(&mut phase) => return,
        };
        // An error here tells of an earlier datagram to a client that is gone.
        let Ok((count, client)) = received else { continue };
        let known = flows.lock().get(&client).cloned();
        let flow = match known {
            Some(flow) => flow,
            None => match open(&door, client).await {
                Ok(Some(flow)) => {
                    let flow = Arc::new(flow);
                    if !flows.add(client, &flow) {
                        continue;
                    }
                    tokio::spawn(answer(socket.clone(), client, flow.clone(), flows.clone(), phase.clone()));
                    flow
                }
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a flow could not be begun");
                    continue;
                }
            },
        };
        flow.used_at.store(clock::now(), Ordering::Relaxed);
        // An error tells of an earlier datagram, and the flow's own task sees it too.
        let _ = flow.target.send(&datagram[..count]).await;
    }
}

async fn open(door: &Door, client: SocketAddr) -> io::Result<Option<Flow>> {
    let service = door.service();
    let Some(group) = service.group(fastrand::u64(..)) else { return Ok(None) };
    let sticky = group.view().settings.stickiness == Some(Stickiness::SourceIp);
    let flow = tcp::flow(client, door.local, sticky);
    let Some(in_flight) = group.of_flow(flow, &Tried::default()) else { return Ok(None) };
    let any: SocketAddr = match in_flight.live().address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let target = UdpSocket::bind(any).await?;
    target.connect(in_flight.live().address).await?;
    Ok(Some(Flow { target, in_flight, used_at: AtomicU64::new(clock::now()) }))
}

/// Brings a target's answers to the client until nothing is sent for too long.
async fn answer(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    flow: Arc<Flow>,
    flows: Arc<Flows>,
    mut phase: PhaseReceiver,
) {
    let mut cuts = flow.in_flight.live().cuts();
    let relay = async {
        loop {
            flow.target.readable().await?;
            let passed = DATAGRAM.with_borrow_mut(|datagram| {
                let count = flow.target.try_recv(datagram)?;
                // A datagram that finds no room is lost, as datagrams are.
                let _ = socket.try_send_to(&datagram[..count], client);
                Ok::<_, io::Error>(())
            });
            match passed {
                Ok(()) => flow.used_at.store(clock::now(), Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err::<(), _>(error),
            }
        }
    };
    tokio::select! {
        // The target's port is closed: the next datagram begins a flow to a target that may be better.
        _ = relay => flow.in_flight.live().eject(),
        () = unused(&flow) => {}
        _ = cuts.changed() => {}
        () = gone(&mut phase) => {}
    }
    flows.remove(client, &flow);
}

async fn unused(flow: &Flow) {
    loop {
        let unused = clock::now().saturating_sub(flow.used_at.load(Ordering::Relaxed));
        let left = clock::millis(IDLE_TIMEOUT).saturating_sub(unused);
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(left)).await;
    }
}

impl Flows {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Arc<Flow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there is no room.
    fn add(&self, client: SocketAddr, flow: &Arc<Flow>) -> bool {
        let mut flows = self.lock();
        if flows.len() >= FLOWS_MAX && !flows.contains_key(&client) {
            return false;
        }
        flows.insert(client, flow.clone());
        true
    }

    /// Unless the client has another flow by now.
    fn remove(&self, client: SocketAddr, flow: &Arc<Flow>) {
        let mut flows = self.lock();
        if flows.get(&client).is_some_and(|current| Arc::ptr_eq(current, flow)) {
            flows.remove(&client);
        }
    }
}
