//! The agent's image: this very binary and the host's certificate authorities, `FROM scratch`. Building it
//! from itself means that there is no registry to reach and no version to keep in step; a label remembers
//! which files went in, so that nothing is built twice.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bollard::errors::Error;
use bollard::query_parameters::{BuildImageOptionsBuilder, RemoveImageOptionsBuilder};
use bollard::{Docker, body_try_stream};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use crate::docker::{failed, is_missing};
use crate::error::{Failure, Kind};

/// The image's name, tagged with the version that built it.
pub(crate) const NAME: &str = concat!("ecsr/agent:", env!("CARGO_PKG_VERSION"));

/// Says which binary and certificates an image holds.
const CONTENT_LABEL: &str = "dev.ecsr.content";

/// This process's own binary, also when its file was replaced meanwhile.
const BINARY: &str = "/proc/self/exe";

/// Where Debian, Ubuntu and Alpine keep the bundle of certificate authorities.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Bytes of the build context that are handed on in one piece.
const CHUNK_BYTES: usize = 256 << 10;
/// Pieces under way between the file and the engine: 1 MiB in all, enough to keep both busy.
const CHUNKS_MAX: usize = 4;

/// The image that is there now.
#[derive(Debug)]
pub(crate) struct Image {
    /// The engine's id of it, by which containers are told apart when the name moves on.
    pub(crate) id: String,
    /// Whether it had to be built.
    pub(crate) built: bool,
    /// The id of the image that had the name before.
    pub(crate) superseded: Option<String>,
}

/// Makes sure that the image of this binary is there.
pub(crate) async fn ensure(engine: &Docker) -> Result<Image, Failure> {
    let content = content().map_err(|error| unreadable(&error))?;
    let mut superseded = None;
    if let Some((id, label)) = find(engine).await? {
        if label.as_deref() == Some(content.as_str()) {
            return Ok(Image { id, built: false, superseded: None });
        }
        superseded = Some(id);
    }
    build(engine, &content).await?;
    match find(engine).await? {
        Some((id, _)) => Ok(Image { superseded: superseded.filter(|old| *old != id), id, built: true }),
        None => Err(Failure::new(Kind::Failed, format!("the engine built {NAME} but does not have it"))),
    }
}

/// Removes an image by name or id; fine when it is not there or another ecsr's agent still uses it.
pub(crate) async fn remove(engine: &Docker, image: &str) -> Result<(), Failure> {
    const IN_USE: u16 = 409;
    let options = RemoveImageOptionsBuilder::default().build();
    match engine.remove_image(image, Some(options), None).await {
        Ok(_) | Err(Error::DockerResponseServerError { status_code: 404 | IN_USE, .. }) => Ok(()),
        Err(error) => Err(failed("removing the agent's image", &error)),
    }
}

async fn find(engine: &Docker) -> Result<Option<(String, Option<String>)>, Failure> {
    match engine.inspect_image(NAME).await {
        Ok(image) => {
            let label = image.config.and_then(|config| config.labels?.remove(CONTENT_LABEL));
            Ok(image.id.map(|id| (id, label)))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed("looking for the agent's image", &error)),
    }
}

/// What would go into the image: sizes and times of its files, which change whenever their content does.
fn content() -> io::Result<String> {
    let stamp = |file: &Metadata| format!("{}-{}.{:09}", file.len(), file.mtime(), file.mtime_nsec());
    let binary = stamp(&fs::metadata(BINARY)?);
    let certificates = fs::metadata(CERTIFICATES).map_or_else(|_| "none".to_owned(), |file| stamp(&file));
    Ok(format!("{binary}/{certificates}"))
}

async fn build(engine: &Docker, content: &str) -> Result<(), Failure> {
    let labels = [(CONTENT_LABEL, content)].into_iter().collect();
    let options = BuildImageOptionsBuilder::default().t(NAME).rm(true).forcerm(true).labels(&labels).build();
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    let packing = tokio::task::spawn_blocking(move || pack(ChunkWriter(sender)));
    let body = body_try_stream(stream::poll_fn(move |context| receiver.poll_recv(context)));
    let mut steps = Box::pin(engine.build_image(options, None, Some(body)));
    let mut refusal = None;
    while let Some(step) = steps.next().await {
        match step {
            Ok(info) => refusal = refusal.or(info.error_detail.and_then(|detail| detail.message)),
            Err(error) => refusal = refusal.or_else(|| Some(failed("the engine", &error).to_string())),
        }
    }
    drop(steps);
    // A file that cannot be read explains a refused build better than the engine can.
    packing.await.expect("packing does not panic").map_err(|error| unreadable(&error))?;
    match refusal {
        None => Ok(()),
        Some(reason) => Err(Failure::new(Kind::Failed, format!("building {NAME}: {reason}"))),
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot read this program's own files for the agent's image: {error}"))
}

/// Writes the build context. That nobody reads it any more is the reader's matter, not an error here.
fn pack(out: ChunkWriter) -> io::Result<()> {
    match pack_into(BufWriter::with_capacity(CHUNK_BYTES, out)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn pack_into(out: impl Write) -> io::Result<()> {
    let certificates = Path::new(CERTIFICATES).exists();
    let mut context = tar::Builder::new(out);
    let dockerfile = dockerfile(certificates);
    append(&mut context, "Dockerfile", 0o644, dockerfile.len() as u64, dockerfile.as_bytes())?;
    for (name, path, mode) in [("ecsr", BINARY, 0o755), ("ca-certificates.crt", CERTIFICATES, 0o644)] {
        if path == CERTIFICATES && !certificates {
            continue;
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        append(&mut context, name, mode, size, file)?;
    }
    context.into_inner()?.flush()
}

/// Every time in the context is 0, so that the engine's build cache sees the same file as the same.
fn append(
    context: &mut tar::Builder<impl Write>,
    name: &str,
    mode: u32,
    size: u64,
    data: impl io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    context.append_data(&mut header, name, data)
}

fn dockerfile(certificates: bool) -> String {
    let mut lines = String::from("FROM scratch\nCOPY ecsr /ecsr\n");
    if certificates {
        lines.push_str("COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n");
    }
    lines.push_str("ENTRYPOINT [\"/ecsr\"]\nCMD [\"agent\"]\n");
    lines
}

/// The writing end of a bounded channel of chunks.
#[derive(Debug)]
struct ChunkWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChunkWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(data);
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_holds_the_binary_and_what_builds_it() {
        let mut bytes = Vec::new();
        pack_into(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), entry.size())
            })
            .collect();
        let own_size = fs::metadata(BINARY).unwrap().len();
        assert_eq!(entries[0].0, "Dockerfile");
        assert_eq!(entries[1], ("ecsr".to_owned(), 0o755, own_size));
    }

    #[test]
    fn the_dockerfile_starts_the_agent() {
        assert!(dockerfile(true).contains("COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n"));
        assert_eq!(
            dockerfile(false),
            "FROM scratch\nCOPY ecsr /ecsr\nENTRYPOINT [\"/ecsr\"]\nCMD [\"agent\"]\n"
        );
    }
}
