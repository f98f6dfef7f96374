//! Why a store cannot be used. Every error names the file that it is about.

use std::io;
use std::path::{Path, PathBuf};

use super::format::Manifest;

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
    #[error("{path}: {message}; nothing was changed, and it can be rebuilt from the shards")]
    Lost { path: PathBuf, message: String },
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

/// Turns an error of the system into one that names the file.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::DiskFull { path }
        }
        _ => StoreError::Io { path, error },
    }
}

/// The error that a file is not what a store of this version holds.
pub(super) fn broken(path: &Path, message: String) -> StoreError {
    StoreError::Broken {
        path: path.to_owned(),
        message,
    }
}

/// The error that what a store keeps about its shards is lost, while the shards are there.
pub(super) fn lost(path: &Path, message: String) -> StoreError {
    StoreError::Lost {
        path: path.to_owned(),
        message,
    }
}
