//! What `ecsr journal` does with a data directory: verify it, show it, copy it.
//!
//! A journal that no scheduler uses is read where it lies, and nothing of it is changed. One that is in use is copied
//! through the [control socket](crate::control) of its scheduler. A backup is a data directory like any other: a
//! scheduler is started on it, or it is put in the place of the one that was lost.
//!
//! Invariant: a backup appears under its name when it is whole and durable, or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ecsr_core::State;

use crate::control;
use crate::driver::{RecoveryError, survey};
use crate::journal::chunk::{self, Line};
use crate::journal::{self, EmbeddedJournal, Entry, Journal, Rejected};

/// Longest line of the answer's head. The scheduler is asked by us and answers with little.
const HEAD_LINES_MAX: usize = 32;

/// Why a journal cannot be verified, shown or copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no journal in {0}")]
    Missing(PathBuf),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("cannot talk to the scheduler through {path}")]
    Control { path: PathBuf, source: io::Error },
    #[error("the scheduler refused to give a copy: {0}")]
    Refused(String),
    #[error("the copy that the scheduler gave is cut off or garbled")]
    CutOff,
    #[error("{0} exists already; a backup is made in a directory of its own")]
    Exists(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot show the journal")]
    Show(#[source] io::Error),
}

/// What a journal holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub account: String,
    pub region: String,
    /// How often a scheduler was started on it.
    pub epoch: u64,
    /// Records that were ever written, the ones that a snapshot stands for included.
    pub records: u64,
    /// Events in the snapshot, and after it.
    pub events_in_snapshot: u64,
    pub events_after_snapshot: u64,
    pub clusters: usize,
    pub task_definitions: usize,
    pub services: usize,
    pub container_instances: usize,
    pub tasks: usize,
    /// What the state contradicts itself in. Always empty unless ecsr has a bug.
    pub contradictions: Vec<String>,
}

/// Reads everything, as a start would, and checks what comes out of it.
pub fn verify(data_dir: &Path) -> Result<Report, Error> {
    let surveyed = survey(&open(data_dir)?)?;
    let state = &surveyed.state;
    let State { clusters, definitions, services, instances, tasks, .. } = state;
    Ok(Report {
        account: state.home.account.clone(),
        region: state.home.region.clone(),
        epoch: surveyed.loaded.epoch,
        records: surveyed.loaded.next_index,
        events_in_snapshot: surveyed.events.snapped,
        events_after_snapshot: surveyed.events.since,
        clusters: clusters.len(),
        task_definitions: definitions.len(),
        services: services.len(),
        container_instances: instances.len(),
        tasks: tasks.len(),
        contradictions: ecsr_core::check::check(state),
    })
}

/// Writes everything that is kept, one JSON object a line: the snapshot's, then the records.
pub fn export(data_dir: &Path, out: &mut dyn Write) -> Result<(), Error> {
    match open(data_dir) {
        Err(Error::Journal(journal::Error::InUse { .. })) => {
            ask(data_dir, &mut |line| out.write_all(line).map_err(Error::Show))?;
        }
        Err(error) => return Err(error),
        Ok(journal) => {
            let mut failed = None;
            let shown = journal.inspect(&mut |entry| {
                show(entry, out).map_err(|error| {
                    failed = Some(error);
                    Rejected
                })
            });
            match failed {
                Some(error) => return Err(error),
                None => drop(shown?),
            }
        }
    }
    out.flush().map_err(Error::Show)
}

fn show(entry: Entry<'_>, out: &mut dyn Write) -> Result<(), Error> {
    match entry {
        Entry::Chunk { number, bytes, .. } => {
            let plain = chunk::plain(number, bytes).map_err(RecoveryError::from)?;
            out.write_all(plain.trim_ascii_end())
        }
        Entry::Record { bytes, .. } => out.write_all(bytes),
        Entry::End => return Ok(()),
    }
    .and_then(|()| out.write_all(b"\n"))
    .map_err(Error::Show)
}

/// Copies the journal and the access keys of `data_dir`, in use or not, into the new directory `target`.
pub fn backup(data_dir: &Path, target: &Path) -> Result<(), Error> {
    if fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) || target.is_file() {
        return Err(Error::Exists(target.to_owned()));
    }
    let unfinished = with_suffix(target, ".unfinished");
    let written = |source| Error::Write { path: unfinished.clone(), source };
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(written(error)),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&unfinished).map_err(written)?;
    let copied = copy(data_dir, &unfinished);
    if copied.is_err() {
        // What is wrong is said already; a directory that stays is replaced by the next backup.
        let _ = fs::remove_dir_all(&unfinished);
    }
    copied?;
    fs::rename(&unfinished, target).map_err(|source| Error::Write { path: target.to_owned(), source })?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(parent).map_err(written)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn copy(data_dir: &Path, target: &Path) -> Result<(), Error> {
    let mut copy = Copy::begin(target)?;
    match open(data_dir) {
        Err(Error::Journal(journal::Error::InUse { .. })) => copy.take_lines(data_dir)?,
        Err(error) => return Err(error),
        Ok(journal) => copy.take_entries(&journal)?,
    }
    drop(copy);
    let (keys, kept) = (data_dir.join("keys.json"), target.join("keys.json"));
    let copied = match fs::copy(&keys, &kept) {
        Ok(_) => File::open(&kept).and_then(|file| file.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    copied.and_then(|()| sync(target)).map_err(|source| Error::Write { path: kept, source })
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The journal of a directory that has one.
fn open(data_dir: &Path) -> Result<EmbeddedJournal, Error> {
    let path = EmbeddedJournal::path_in(data_dir);
    match path.try_exists() {
        Ok(true) => Ok(EmbeddedJournal::open(data_dir)?),
        Ok(false) => Err(Error::Missing(data_dir.to_owned())),
        Err(source) => Err(Error::Write { path, source }),
    }
}

/// A journal that is being filled.
#[derive(Debug)]
struct Copy {
    journal: EmbeddedJournal,
    epoch: u64,
    /// The last record that the snapshot stands for, and how many chunks it has so far.
    snapshot: Option<(u64, u64)>,
}

impl Copy {
    fn begin(target: &Path) -> Result<Self, Error> {
        let mut journal = EmbeddedJournal::open(target)?;
        let epoch = journal.load(&mut |_| Ok(()))?.epoch;
        Ok(Self { journal, epoch, snapshot: None })
    }

    fn chunk(&mut self, through: u64, bytes: &[u8]) -> Result<(), journal::Error> {
        let (_, number) = self.snapshot.unwrap_or((through, 0));
        self.journal.snapshot_chunk(self.epoch, through, number, bytes)?;
        self.snapshot = Some((through, number + 1));
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), journal::Error> {
        match self.snapshot.take() {
            Some((through, chunks)) => self.journal.snapshot_end(self.epoch, through, chunks),
            None => Ok(()),
        }
    }

    /// Takes over what lies in another journal, as it is.
    fn take_entries(&mut self, from: &EmbeddedJournal) -> Result<(), Error> {
        let mut failed = None;
        let shown = from.inspect(&mut |entry| {
            let taken = match entry {
                Entry::Chunk { through, bytes, .. } => self.chunk(through, bytes),
                Entry::Record { index, bytes } => self
                    .end_snapshot()
                    .and_then(|()| self.journal.append(self.epoch, index, &[bytes.to_vec()])),
                Entry::End => self.end_snapshot(),
            };
            taken.map_err(|error| {
                failed = Some(error);
                Rejected
            })
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(shown.map(drop)?),
        }
    }

    /// Takes what a running scheduler gives: one snapshot, which stands for the founding record as well.
    fn take_lines(&mut self, data_dir: &Path) -> Result<(), Error> {
        let mut chunk = Vec::new();
        ask(data_dir, &mut |line| {
            if chunk::line(line) == Line::Header && !chunk.is_empty() {
                self.chunk(0, &std::mem::take(&mut chunk))?;
            }
            chunk.extend_from_slice(line);
            Ok(())
        })?;
        self.chunk(0, &chunk)?;
        Ok(self.end_snapshot()?)
    }
}

/// Asks the running scheduler for a copy and hands it on line by line, the last one excepted.
fn ask(data_dir: &Path, take: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let path = control::socket_in(data_dir);
    let failed = |source| Error::Control { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    write!(stream, "GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n", control::PATH).map_err(failed)?;
    let mut answer = BufReader::new(stream);
    read_head(&mut answer).map_err(failed)?.map_err(Error::Refused)?;
    let (mut line, mut events) = (Vec::new(), 0);
    loop {
        line.clear();
        if answer.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Err(Error::CutOff);
        }
        match chunk::line(&line) {
            Line::Header => take(&line)?,
            Line::Event => {
                events += 1;
                take(&line)?;
            }
            Line::End { events: counted } if counted == events => return Ok(()),
            Line::End { .. } => return Err(Error::CutOff),
        }
    }
}

/// Reads the head of the answer: whether the copy follows, or why not.
fn read_head(answer: &mut impl BufRead) -> io::Result<Result<(), String>> {
    let mut status = String::new();
    answer.read_line(&mut status)?;
    for _ in 0..HEAD_LINES_MAX {
        let mut line = String::new();
        if answer.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    if status.split_ascii_whitespace().nth(1) == Some("200") {
        return Ok(Ok(()));
    }
    let mut problem = String::new();
    answer.read_line(&mut problem)?;
    Ok(Err(format!("{} {}", status.trim_end(), problem.trim_end()).trim().to_owned()))
}
