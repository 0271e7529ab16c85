//! The door for who owns the data directory: `control.sock` in it, and on it, in HTTP, the state as it is now.
//!
//! A backup needs a consistent copy of what a running scheduler keeps, and the journal's file is locked and written all
//! the time. The published state is such a copy already, so it is streamed as a snapshot would be written: neither the
//! writer nor the disk notices. It holds secrets that users put into task definitions, and there are no users to tell
//! apart: hence not the API, but a socket that only the directory's owner can open, and no access key is needed.
//!
//! `curl --unix-socket /var/lib/ecsr/control.sock http://localhost/journal` shows it, one JSON object a line; the last
//! line counts the events, so that a stream that was cut off is told from a whole one.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ecsr_core::State as ClusterState;
use futures_util::stream;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::driver::Driver;
use crate::journal::chunk::{self, CHUNK_BYTES_MAX};
use crate::journal::record::Founding;
use crate::stop;

/// What is asked for.
pub(crate) const PATH: &str = "/journal";

/// Copies that are streamed at one time. Each keeps a state alive that the scheduler has moved on from.
const COPIES_MAX: usize = 2;

/// Chunks of a copy that are ready before the reader takes them.
const CHUNKS_AHEAD_MAX: usize = 1;

/// The socket of a data directory.
pub(crate) fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// What the door needs of the scheduler.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub driver: Driver,
    pub clock: Clock,
    pub founding: Founding,
}

#[derive(Debug)]
struct Door {
    control: Control,
    room: Arc<Semaphore>,
}

/// Opens the socket. One that a killed scheduler left is replaced: whoever holds the journal holds the directory.
pub(crate) fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_in(data_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until told to stop; a copy under way then ends without its last line.
pub(crate) async fn serve(listener: UnixListener, control: Control, mut stopping: watch::Receiver<bool>) {
    let door = Arc::new(Door { control, room: Arc::new(Semaphore::new(COPIES_MAX)) });
    let router = Router::new().route(PATH, get(journal)).with_state(door);
    tokio::select! {
        () = stop::told(&mut stopping) => {}
        ended = axum::serve(listener, router) => {
            if let Err(error) = ended {
                tracing::warn!(%error, "the control socket is closed");
            }
        }
    }
}

async fn journal(State(door): State<Arc<Door>>) -> Response {
    let Ok(permit) = door.room.clone().try_acquire_owned() else {
        let problem = "enough copies are being made; try again when they are done\n";
        return (StatusCode::SERVICE_UNAVAILABLE, problem).into_response();
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let Control { driver, clock, founding } = door.control.clone();
    tokio::task::spawn_blocking(move || {
        copy(&driver.state(), founding, &clock, &sender);
        drop(permit);
    });
    let chunks = stream::unfold(receiver, async |mut chunks| Some((chunks.recv().await?, chunks)));
    Response::new(Body::from_stream(futures_util::StreamExt::map(chunks, Ok::<_, io::Error>)))
}

fn copy(state: &ClusterState, founding: Founding, clock: &Clock, chunks: &mpsc::Sender<Bytes>) {
    let mut cut = chunk::plain_chunks(founding, clock.now(), state.events(), CHUNK_BYTES_MAX);
    for chunk in cut.by_ref() {
        if chunks.blocking_send(chunk.into()).is_err() {
            return;
        }
    }
    // Nobody may want it any more.
    let _ = chunks.blocking_send(chunk::copy_end(cut.cut).into());
}
