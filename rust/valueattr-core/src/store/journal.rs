//! Reads the manifest and the journal: what a store says of itself, checked.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{StoreError, broken, io_error, lost};
use super::format::{Manifest, OLDEST, OPENING, Shard, VERSION, shard_name};

/// The manifest of the store in a folder.
pub(super) fn read_manifest(path: &Path) -> Result<Manifest, StoreError> {
    let file = path.join("manifest.json");
    let has_shards = shard_files(path).is_ok_and(|shards| !shards.is_empty());
    let bytes = match fs::read(&file) {
        Err(error) if there_is_none(&error) => {
            if has_shards {
                return Err(lost(&file, "it is missing beside the shards".into()));
            }
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        other => other.map_err(io_error(&file))?,
    };
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) if has_shards => return Err(lost(&file, error.to_string())),
        Err(error) => return Err(broken(&file, error.to_string())),
    };
    if !(OLDEST..=VERSION).contains(&manifest.version) {
        return Err(broken(
            &file,
            format!(
                "version {}, this reads versions {OLDEST} and {VERSION}",
                manifest.version
            ),
        ));
    }
    Ok(manifest)
}

fn there_is_none(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What a journal says.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub committed: Vec<Shard>,
    /// Its length without a torn last line; 0 if it was not begun.
    pub length: u64,
}

impl Journal {
    /// Reads the journal, and checks that it was not lost: a capture that was killed leaves at most one shard without a
    /// line, the next one. Shards are looked for first, so that one which is committed meanwhile has its line.
    pub fn read(path: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        let on_disk = shard_files(path)?;
        let (journal, broken) = Self::read_intact(path, manifest)?;
        let file = path.join("journal.jsonl");
        if let Some(message) = broken {
            return Err(lost(&file, message));
        }
        let listed: HashSet<&str> = (journal.committed.iter())
            .map(|shard| &shard.file[..])
            .collect();
        let unlisted = (on_disk.iter()).filter(|name| !listed.contains(&name[..]));
        let unlisted: Vec<&String> = unlisted.collect();
        match &unlisted[..] {
            [] => Ok(journal),
            [one] if journal.length > 0 && **one == shard_name(journal.committed.len()) => {
                Ok(journal)
            }
            _ => {
                let (found, all) = (unlisted.len(), on_disk.len());
                Err(lost(
                    &file,
                    format!(
                        "it is missing or was cut: {found} of the {all} shards have no line in it"
                    ),
                ))
            }
        }
    }

    /// The lines up to the first that is broken, and what is wrong with that one.
    pub fn read_intact(
        path: &Path,
        manifest: &Manifest,
    ) -> Result<(Self, Option<String>), StoreError> {
        let file = path.join("journal.jsonl");
        let mut journal = Self::default();
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((journal, None)),
            other => other.map_err(io_error(&file))?,
        };
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |last| last + 1);
        let mut lines = &bytes[..whole];
        if manifest.names_captures() && !lines.is_empty() {
            match lines.strip_prefix(OPENING) {
                Some(rest) => lines = rest,
                None => {
                    return Ok((
                        journal,
                        Some("its first line is not that of a journal".into()),
                    ));
                }
            }
        }
        let lines = lines.split(|&byte| byte == b'\n');
        for (i, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            match serde_json::from_slice::<Shard>(line) {
                Ok(shard) if shard.file == shard_name(i) => journal.committed.push(shard),
                Ok(shard) => {
                    let message = format!("shard {i}: the line names {:?}", shard.file);
                    return Ok((journal, Some(message)));
                }
                Err(error) => return Ok((journal, Some(format!("shard {i}: {error}")))),
            }
        }
        journal.length = whole as u64;
        Ok((journal, None))
    }
}

/// A line of the journal.
pub(super) fn line(shard: &Shard) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(shard)?;
    line.push(b'\n');
    Ok(line)
}

/// The names of the shards in a folder, whether they count or not, sorted.
pub(super) fn shard_files(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("shard-")
            && Path::new(&*name).extension() == Some("safetensors".as_ref())
        {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The names of the captures that have a table of texts in a folder.
pub(super) fn captures_with_texts(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries: Vec<PathBuf> = (fs::read_dir(path).map_err(io_error(path))?)
        .map(|entry| Ok(entry.map_err(io_error(path))?.path()))
        .collect::<Result<_, StoreError>>()?;
    let names = entries.iter().filter_map(|file| file.file_name()?.to_str());
    let captures = names.filter_map(|name| name.strip_prefix("texts-")?.strip_suffix(".parquet"));
    Ok(captures.map(str::to_owned).collect())
}
