//! Reads the manifest and the journal: what a store says of itself, checked.

use std::fs;
use std::io;
use std::path::Path;

use super::error::{StoreError, broken, io_error};
use super::format::{Manifest, Shard, VERSION, shard_name};

/// The manifest of the store in a folder.
pub(super) fn read_manifest(path: &Path) -> Result<Manifest, StoreError> {
    let file = path.join("manifest.json");
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        other => other.map_err(io_error(&file))?,
    };
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| broken(&file, error.to_string()))?;
    if manifest.version != VERSION {
        return Err(broken(
            &file,
            format!("version {}, this reads version {VERSION}", manifest.version),
        ));
    }
    Ok(manifest)
}

/// The committed shards, and the length of the journal without a torn last line.
pub(super) fn read_journal(path: &Path) -> Result<(Vec<Shard>, u64), StoreError> {
    let file = path.join("journal.jsonl");
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        other => other.map_err(io_error(&file))?,
    };
    let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |last| last + 1);
    let mut shards: Vec<Shard> = Vec::new();
    let lines = bytes[..whole].split(|&byte| byte == b'\n');
    for (i, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        let shard: Shard = serde_json::from_slice(line)
            .map_err(|error| broken(&file, format!("line {}: {error}", i + 1)))?;
        if shard.file != shard_name(i) {
            return Err(broken(
                &file,
                format!("line {}: names {:?}, expected shard {i}", i + 1, shard.file),
            ));
        }
        shards.push(shard);
    }
    Ok((shards, whole as u64))
}
