//! Brings back the journal, and the manifest, of a store from its shards.

use std::path::Path;

use super::error::{StoreError, broken, io_error};
use super::format::{OPENING, shard_name};
use super::journal::{Journal, captures_with_texts, line, read_manifest, shard_files};
use super::shard::{describe, manifest_of, open_checked};
use super::writer::{lock, write_manifest, write_whole};

/// How many lines of a journal were kept, and how many are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    pub kept: usize,
    pub new: usize,
}

/// Writes the journal anew: its intact lines, and a line for each shard behind them. The checksums of new lines are
/// taken anew.
///
/// # Errors
/// The folder holds no store and no shards, another process writes to it, a shard is missing, cut or another file, or is
/// of version 2 and of one of several captures; then nothing is changed.
pub fn rebuild(path: &Path) -> Result<Rebuilt, StoreError> {
    let (manifest, found) = match read_manifest(path) {
        Err(StoreError::Lost { .. }) => (manifest_of(&path.join(shard_name(0)))?, false),
        read => (read?, true),
    };
    let on_disk = shard_files(path)?;
    let _lock = lock(path)?;
    let mut shards = Journal::read_intact(path, &manifest)?.0.committed;
    let kept = shards.len();
    for shard in &shards {
        open_checked(path, &manifest, shard)?;
    }
    let captures = captures_with_texts(path)?;
    let only = (captures.len() == 1).then(|| &captures[0][..]);
    for (index, name) in on_disk.iter().enumerate().skip(kept) {
        let expected = shard_name(index);
        if *name != expected {
            let message = format!("it is missing, while {name} is there");
            return Err(broken(&path.join(expected), message));
        }
        shards.push(describe(path, &manifest, name, only)?);
    }
    if !found {
        write_manifest(path, &manifest, true)?;
    }
    let mut lines = if manifest.names_captures() {
        OPENING.to_vec()
    } else {
        Vec::new()
    };
    let journal_path = path.join("journal.jsonl");
    for shard in &shards {
        lines.extend(line(shard).map_err(io_error(&journal_path))?);
    }
    write_whole(&journal_path, &lines, true).map_err(io_error(&journal_path))?;
    let new = shards.len() - kept;
    Ok(Rebuilt { kept, new })
}
