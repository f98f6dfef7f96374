//! Activations on disk: plain safetensors shards and a journal that says which of them count.
//!
//! A store is a folder:
//!
//! * `manifest.json`: version, layers, width, dtype; written once, before anything else
//! * `shard-00000.safetensors`, ...: tensors `text` and `token` (rows,), which say where each row comes from, and
//!   `layer.0`, `layer.1`, ... (rows, width); readable with public tools
//! * `journal.jsonl`: one line per committed shard with its rows, its XXH3 checksum and the texts that it completes
//!
//! A shard is written beside its place, renamed, and only then journalled, so a store that was killed at any moment
//! holds whole shards and nothing else that counts: a torn last journal line and shards without a line are removed
//! when it is opened to go on. A durable writer syncs each step to the disk before the next, while the next shard is
//! being written.

mod format;
mod reader;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use format::{Dtype, Manifest, Shard};
pub use reader::{Row, RowBuffer, Store};
pub use writer::{NewShard, Writer};

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path}: no space left on the disk; what was committed is kept, free some and go on")]
    DiskFull { path: PathBuf },
    #[error("{0} is not a store: it has no manifest.json")]
    NotAStore(PathBuf),
    #[error("{path}: {message}")]
    Broken { path: PathBuf, message: String },
    #[error("{path} holds {found}, not {expected}")]
    Mismatch {
        path: PathBuf,
        found: Box<Manifest>,
        expected: Box<Manifest>,
    },
    #[error("another process is writing to {0}")]
    Locked(PathBuf),
    #[error("layer {layer} has {found} bytes, expected {expected}: {rows} rows of {width} values")]
    Shape {
        layer: u32,
        found: usize,
        expected: usize,
        rows: usize,
        width: usize,
    },
    #[error("there is no row {row}: the store has {rows}")]
    NoSuchRow { row: usize, rows: usize },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::DiskFull { path }
        }
        _ => StoreError::Io { path, error },
    }
}

fn broken(path: &Path, message: String) -> StoreError {
    StoreError::Broken {
        path: path.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
