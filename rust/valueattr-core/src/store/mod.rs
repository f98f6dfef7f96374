//! Activations on disk: plain safetensors shards and a journal that says which of them count.
//!
//! A store is a folder:
//!
//! * `manifest.json`: version, layers, width, dtype; written once, before anything else
//! * `shard-00000.safetensors`, ...: tensors `layer.0`, `layer.1`, ... of shape (rows, width), readable with public tools
//! * `journal.jsonl`: one line per committed shard with its rows and XXH3 checksum
//!
//! A shard is written beside its place, renamed, and only then journalled, so a store that was killed at any moment
//! holds whole shards and nothing else that counts: a torn last journal line and shards without a line are removed
//! when it is opened to go on. A durable writer syncs each step to the disk before the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

const VERSION: u32 = 1;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    F32,
    F16,
    BF16,
}

impl Dtype {
    /// Bytes of one value.
    #[must_use]
    pub fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn name(self) -> &'static str {
        ["F32", "F16", "BF16"][self as usize]
    }
}

/// What is the same in every shard of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    pub layers: Vec<u32>,
    pub width: usize,
    pub dtype: Dtype,
}

impl Manifest {
    #[must_use]
    pub fn new(layers: Vec<u32>, width: usize, dtype: Dtype) -> Self {
        Self {
            version: VERSION,
            layers,
            width,
            dtype,
        }
    }

    fn layer_bytes(&self, rows: usize) -> usize {
        // A hostile manifest or journal may hold any number; no file has the length that this then asks for.
        rows.saturating_mul(self.width)
            .saturating_mul(self.dtype.size())
    }

    /// The safetensors header of a shard, padded so that data starts at a multiple of 64 bytes.
    fn header(&self, rows: usize) -> Vec<u8> {
        let size = self.layer_bytes(rows);
        let tensors: Vec<String> = self
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| {
                format!(
                    r#""layer.{layer}":{{"dtype":"{}","shape":[{rows},{}],"data_offsets":[{},{}]}}"#,
                    self.dtype.name(),
                    self.width,
                    size.saturating_mul(i),
                    size.saturating_mul(i + 1)
                )
            })
            .collect();
        let mut json = format!("{{{}}}", tensors.join(",")).into_bytes();
        json.resize((json.len() + 8).next_multiple_of(64) - 8, b' ');
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    }
}

/// One committed shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub file: String,
    pub rows: usize,
    /// XXH3 of the whole file, in hexadecimal.
    xxh3: String,
}

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
    #[error("{path} holds {found:?}, expected {expected:?}")]
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
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    |error| match error.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull { path },
        _ => StoreError::Io { path, error },
    }
}

/// A committed store, open to read.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    pub manifest: Manifest,
    pub shards: Vec<Shard>,
}

impl Store {
    /// Opens what is committed.
    ///
    /// # Errors
    /// The folder is no store, is of another version, or a committed shard is missing or has another length.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let manifest = read_manifest(path)?;
        let shards = read_journal(path)?.0;
        for shard in &shards {
            let file = path.join(&shard.file);
            let data = manifest
                .layer_bytes(shard.rows)
                .saturating_mul(manifest.layers.len());
            let expected = manifest.header(shard.rows).len().saturating_add(data);
            let found = fs::metadata(&file).map_err(io_error(&file))?.len();
            if found != expected as u64 {
                return Err(broken(
                    &file,
                    format!("{found} bytes, expected {expected}: it was cut or is another file"),
                ));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            manifest,
            shards,
        })
    }

    /// Rows of every layer.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.rows).sum()
    }

    /// File and byte offset of a layer in a shard.
    #[must_use]
    pub fn locate(&self, shard: &Shard, layer_index: usize) -> (PathBuf, usize) {
        let offset = self.manifest.header(shard.rows).len()
            + layer_index * self.manifest.layer_bytes(shard.rows);
        (self.path.join(&shard.file), offset)
    }

    /// Reads everything and compares checksums.
    ///
    /// # Errors
    /// Names the first shard that differs.
    pub fn verify(&self) -> Result<(), StoreError> {
        for shard in &self.shards {
            let path = self.path.join(&shard.file);
            let found = checksum(&path)?;
            if found != shard.xxh3 {
                return Err(broken(
                    &path,
                    format!("checksum {found}, the journal says {}", shard.xxh3),
                ));
            }
        }
        Ok(())
    }
}

/// The one writer of a store.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    manifest: Manifest,
    journal: File,
    committed: Vec<Shard>,
    durable: bool,
    _lock: File,
}

impl Writer {
    /// Starts a store, or goes on with one of the same manifest. A durable writer survives a power cut, others a kill.
    ///
    /// # Errors
    /// Another process writes to it, or it holds other layers, another width or dtype.
    pub fn open(path: &Path, manifest: Manifest, durable: bool) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(io_error(path))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(io_error(&lock_path)(error)),
        }
        let manifest_path = path.join("manifest.json");
        if manifest_path.exists() {
            let found = read_manifest(path)?;
            if found != manifest {
                let (path, found, expected) =
                    (path.to_owned(), Box::new(found), Box::new(manifest));
                return Err(StoreError::Mismatch {
                    path,
                    found,
                    expected,
                });
            }
        } else {
            let json = serde_json::to_vec_pretty(&manifest)
                .map_err(|error| broken(&manifest_path, error.to_string()))?;
            write_whole(&manifest_path, &[&json], durable)?;
        }
        let journal_path = path.join("journal.jsonl");
        let (committed, whole) = read_journal(path)?;
        let journal = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&journal_path)
            .map_err(io_error(&journal_path))?;
        journal.set_len(whole).map_err(io_error(&journal_path))?;
        remove_uncommitted(path, &committed)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            journal,
            committed,
            durable,
            _lock: lock,
        })
    }

    /// Rows committed so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.committed.iter().map(|shard| shard.rows).sum()
    }

    /// Commits one shard: `rows` rows of every layer, in the order of the manifest, as little-endian values.
    ///
    /// # Errors
    /// A layer has another number of bytes, or the disk refuses; then nothing of the shard counts.
    pub fn append(&mut self, rows: usize, layers: &[&[u8]]) -> Result<(), StoreError> {
        let expected = self.manifest.layer_bytes(rows);
        for (&layer, bytes) in self.manifest.layers.iter().zip(layers) {
            if bytes.len() != expected {
                let (found, width) = (bytes.len(), self.manifest.width);
                return Err(StoreError::Shape {
                    layer,
                    found,
                    expected,
                    rows,
                    width,
                });
            }
        }
        let file = format!("shard-{:05}.safetensors", self.committed.len());
        let header = self.manifest.header(rows);
        let parts: Vec<&[u8]> = std::iter::once(header.as_slice())
            .chain(layers.iter().copied())
            .collect();
        write_whole(&self.path.join(&file), &parts, self.durable)?;
        let mut hash = Xxh3::new();
        for part in &parts {
            hash.update(part);
        }
        let shard = Shard {
            file,
            rows,
            xxh3: format!("{:016x}", hash.digest()),
        };
        let journal_path = self.path.join("journal.jsonl");
        let mut line =
            serde_json::to_vec(&shard).map_err(|error| broken(&journal_path, error.to_string()))?;
        line.push(b'\n');
        self.journal
            .write_all(&line)
            .map_err(io_error(&journal_path))?;
        if self.durable {
            self.journal.sync_data().map_err(io_error(&journal_path))?;
        }
        self.committed.push(shard);
        Ok(())
    }
}

fn broken(path: &Path, message: String) -> StoreError {
    StoreError::Broken {
        path: path.to_owned(),
        message,
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, StoreError> {
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
fn read_journal(path: &Path) -> Result<(Vec<Shard>, u64), StoreError> {
    let file = path.join("journal.jsonl");
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        other => other.map_err(io_error(&file))?,
    };
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |last| last + 1);
    let mut shards: Vec<Shard> = Vec::new();
    for (i, line) in bytes[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        let shard: Shard = serde_json::from_slice(line)
            .map_err(|error| broken(&file, format!("line {}: {error}", i + 1)))?;
        if shard.file != format!("shard-{i:05}.safetensors") {
            return Err(broken(
                &file,
                format!("line {}: names {:?}, expected shard {i}", i + 1, shard.file),
            ));
        }
        shards.push(shard);
    }
    Ok((shards, whole as u64))
}

fn remove_uncommitted(path: &Path, committed: &[Shard]) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("shard-") || name.starts_with(".writing-");
        if ours && !committed.iter().any(|shard| shard.file == name) {
            let file = path.join(&*name);
            fs::remove_file(&file).map_err(io_error(&file))?;
        }
    }
    Ok(())
}

/// Writes a file that appears under its name only when whole.
fn write_whole(path: &Path, parts: &[&[u8]], durable: bool) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".writing-{name}"));
    let written = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    let renamed = written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| match path.parent() {
            Some(folder) if durable => File::open(folder)?.sync_all(),
            _ => Ok(()),
        });
    renamed.map_err(|error| {
        // Best effort: what is left is removed when the store is opened to go on.
        let _ = fs::remove_file(&temporary);
        io_error(path)(error)
    })
}

fn checksum(path: &Path) -> Result<String, StoreError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let mut hash = Xxh3::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(io_error(path))? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => hash.update(&block[..n]),
        }
    }
}

#[cfg(test)]
mod tests;
