//! The one writer of a store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use xxhash_rust::xxh3::Xxh3;

use super::error::{StoreError, broken, io_error};
use super::format::{Manifest, OPENING, Shard, shard_name};
use super::journal::{Journal, line, read_manifest, shard_files};
use super::shard::describe;

/// Bytes that are hashed at once: they are still in the cache when they are written.
const BLOCK: usize = 1 << 20;
/// How many shards may be written and wait to be committed.
const WAITING: usize = 1;

/// Rows to append: of each the text and the token that it comes from, and each layer's values, little-endian, in the
/// order of the manifest. `texts` are completed by it.
#[derive(Debug, Clone, Copy)]
pub struct NewShard<'a> {
    pub capture: &'a str,
    pub texts: usize,
    pub text: &'a [i64],
    pub token: &'a [i64],
    pub layers: &'a [&'a [u8]],
}

/// Writes on the caller's thread and commits on one of its own.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    manifest: Manifest,
    committed: Vec<Shard>,
    appended: usize,
    durable: bool,
    /// Like the thread, it is gone after an error and when the writer has finished.
    written: Option<SyncSender<Written>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    lock: Option<File>,
}

/// A shard that is written but not committed.
#[derive(Debug)]
struct Written {
    file: File,
    temporary: PathBuf,
    shard: Shard,
}

impl Writer {
    /// Starts a store, or goes on with one of the same manifest. A durable writer survives a power cut, others a kill.
    ///
    /// # Errors
    /// Another process writes to it, it holds other layers, another width or dtype, or its journal was lost.
    pub fn open(path: &Path, manifest: Manifest, durable: bool) -> Result<Self, StoreError> {
        if path.is_file() {
            return Err(broken(path, "it is a file, expected a folder".into()));
        }
        fs::create_dir_all(path).map_err(io_error(path))?;
        let lock = lock(path)?;
        let manifest = match read_manifest(path) {
            Ok(found) if !found.holds_the_same(&manifest) => {
                return Err(StoreError::Mismatch {
                    path: path.to_owned(),
                    found: Box::new(found),
                    expected: Box::new(manifest),
                });
            }
            Err(StoreError::NotAStore(_)) => {
                write_manifest(path, &manifest, durable)?;
                manifest
            }
            found => found?,
        };
        let (journal, committed) = open_journal(path, &manifest, durable)?;
        remove_uncommitted(path, &committed)?;

        let (written, to_commit) = sync_channel(WAITING);
        let mut commits = Committer {
            path: path.to_owned(),
            journal,
            durable,
        };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || (to_commit.iter()).try_for_each(|written| commits.commit(&written)))
            .map_err(io_error(path))?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            appended: committed.len(),
            committed,
            durable,
            written: Some(written),
            thread: Some(thread),
            lock: Some(lock),
        })
    }

    /// What was committed when it was opened.
    #[must_use]
    pub fn committed(&self) -> &[Shard] {
        &self.committed
    }

    /// Appends one shard. It counts when a later call, [`Writer::finish`] at the latest, has returned.
    ///
    /// # Errors
    /// A layer has another number of bytes, or the disk refuses this shard or the one before; then neither counts, and
    /// the writer is of no more use.
    pub fn append(&mut self, new: NewShard) -> Result<(), StoreError> {
        self.check_shape(new)?;
        let rows = new.text.len();
        let name = shard_name(self.appended);
        let temporary = self.path.join(format!(".writing-{name}"));
        let (header, text, token) = (
            self.manifest.header(rows, new.capture, new.texts),
            little_endian(new.text),
            little_endian(new.token),
        );
        let parts: Vec<&[u8]> = [&header[..], &text, &token]
            .into_iter()
            .chain(new.layers.iter().copied())
            .collect();
        let (file, xxh3) = write_and_hash(&temporary, &parts).map_err(|error| {
            let _ = fs::remove_file(&temporary); // what is left is removed when the store is opened to go on
            io_error(&temporary)(error)
        })?;
        let shard = Shard {
            file: name,
            rows,
            capture: new.capture.to_owned(),
            texts: new.texts,
            xxh3,
        };
        let written = Written {
            file,
            temporary,
            shard,
        };
        let sent = (self.written.as_ref()).is_some_and(|channel| channel.send(written).is_ok());
        self.appended += 1;
        if sent { Ok(()) } else { self.finish() }
    }

    fn check_shape(&self, new: NewShard) -> Result<(), StoreError> {
        let (rows, width) = (new.text.len(), self.manifest.width);
        if new.token.len() != rows || new.layers.len() != self.manifest.layers.len() {
            let (tokens, layers) = (new.token.len(), new.layers.len());
            return Err(broken(
                &self.path,
                format!("{rows} texts, {tokens} tokens and {layers} layers do not make a shard"),
            ));
        }
        let expected = self.manifest.layer_bytes(rows);
        for (&layer, bytes) in self.manifest.layers.iter().zip(new.layers) {
            if bytes.len() != expected {
                return Err(StoreError::Shape {
                    layer,
                    found: bytes.len(),
                    expected,
                    rows,
                    width,
                });
            }
        }
        Ok(())
    }

    /// Writes a file of any other name into the store, whole or not at all.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_beside(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        write_whole(&path, bytes, self.durable).map_err(io_error(&path))
    }

    /// Waits until all that was appended is committed; then another writer may begin.
    ///
    /// # Errors
    /// The disk refused some of it.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        self.written = None;
        let outcome = self.thread.take().map(JoinHandle::join);
        self.lock = None;
        match outcome {
            None => Err(broken(&self.path, "the writer has ended".into())),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(broken(&self.path, "the committing thread panicked".into())),
        }
    }
}

impl Drop for Writer {
    /// An error here has no one to go to; what it hit is not committed.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.finish();
        }
    }
}

struct Committer {
    path: PathBuf,
    journal: File,
    durable: bool,
}

impl Committer {
    fn commit(&mut self, written: &Written) -> Result<(), StoreError> {
        let place = self.path.join(&written.shard.file);
        let moved = self
            .sync(&written.file)
            .and_then(|()| fs::rename(&written.temporary, &place))
            .and_then(|()| sync_folder(&self.path, self.durable));
        moved.map_err(|error| {
            let _ = fs::remove_file(&written.temporary);
            io_error(&place)(error)
        })?;
        let journal_path = self.path.join("journal.jsonl");
        line(&written.shard)
            .and_then(|line| self.journal.write_all(&line))
            .and_then(|()| self.sync(&self.journal))
            .map_err(io_error(&journal_path))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.durable {
            file.sync_data()
        } else {
            Ok(())
        }
    }
}

pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = path.join(".lock");
    let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io_error(&lock_path)(error)),
    }
}

pub(super) fn write_manifest(
    path: &Path,
    manifest: &Manifest,
    durable: bool,
) -> Result<(), StoreError> {
    let file = path.join("manifest.json");
    serde_json::to_vec_pretty(manifest)
        .map_err(io::Error::from)
        .and_then(|json| write_whole(&file, &json, durable))
        .map_err(io_error(&file))
}

/// The journal, open to append, and the shards that count: those with a line, and the next one if it was renamed to its
/// place before the kill. Such a shard is whole, and may be of another capture than the one that goes on.
fn open_journal(
    path: &Path,
    manifest: &Manifest,
    durable: bool,
) -> Result<(File, Vec<Shard>), StoreError> {
    let journal_path = path.join("journal.jsonl");
    let Journal {
        mut committed,
        length,
    } = Journal::read(path, manifest)?;
    if length == 0 && manifest.names_captures() {
        write_whole(&journal_path, OPENING, durable).map_err(io_error(&journal_path))?;
    }
    let mut journal = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&journal_path)
        .map_err(io_error(&journal_path))?;
    if length > 0 || !manifest.names_captures() {
        journal.set_len(length).map_err(io_error(&journal_path))?;
    }
    let next = shard_name(committed.len());
    if shard_files(path)?.contains(&next) {
        match describe(path, manifest, &next, None) {
            Ok(shard) => {
                sync_folder(path, durable)
                    .and_then(|()| journal.write_all(&line(&shard)?))
                    .map_err(io_error(&journal_path))?;
                committed.push(shard);
            }
            Err(StoreError::Broken { .. }) => {} // it is removed
            Err(error) => return Err(error),
        }
    }
    Ok((journal, committed))
}

fn remove_uncommitted(path: &Path, committed: &[Shard]) -> Result<(), StoreError> {
    let mut names = shard_files(path)?;
    names.retain(|name| *name == shard_name(committed.len()));
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".writing-") {
            names.push(name.into_owned());
        }
    }
    for name in names {
        let file = path.join(name);
        fs::remove_file(&file).map_err(io_error(&file))?;
    }
    Ok(())
}

fn write_and_hash(path: &Path, parts: &[&[u8]]) -> io::Result<(File, String)> {
    let mut file = File::create(path)?;
    let mut hash = Xxh3::new();
    for block in parts.iter().flat_map(|part| part.chunks(BLOCK)) {
        hash.update(block);
        file.write_all(block)?;
    }
    Ok((file, format!("{:016x}", hash.digest())))
}

/// Writes a file that appears under its name only when whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".writing-{name}"));
    fs::write(&temporary, bytes)?;
    if durable {
        File::open(&temporary)?.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    sync_folder(path.parent().unwrap_or(path), durable)
}

fn sync_folder(path: &Path, durable: bool) -> io::Result<()> {
    if durable {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

fn little_endian(values: &[i64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
