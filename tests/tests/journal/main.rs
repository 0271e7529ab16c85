//! What a scheduler has acknowledged, it keeps: through kills at any moment, on a full disk, in a backup; and what it
//! cannot read, it leaves alone. Everything here is the real binary and its real files.

mod backup;
mod book;
mod disk;
mod kill;
mod local;
mod refusal;
