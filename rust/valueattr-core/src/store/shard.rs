//! The file of a shard: checked against what the journal says, or describing itself.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use super::error::{StoreError, broken, io_error};
use super::format::{Dtype, Manifest, Shard};

/// Opens the file of a shard, whose length and header are those that its journal line asks for; with the length of the
/// header.
pub(super) fn open_checked(
    folder: &Path,
    manifest: &Manifest,
    shard: &Shard,
) -> Result<(File, Metadata, usize), StoreError> {
    let path = folder.join(&shard.file);
    let header = manifest.header(shard.rows, &shard.capture, shard.texts);
    let mut file = File::open(&path).map_err(io_error(&path))?;
    let metadata = file.metadata().map_err(io_error(&path))?;
    let found = metadata.len();
    let expected = header.len().saturating_add(manifest.data_bytes(shard.rows)) as u64;
    if found != expected {
        return Err(broken(
            &path,
            format!("{found} bytes, expected {expected}: it was cut or is another file"),
        ));
    }
    let mut there = vec![0; header.len()];
    file.read_exact(&mut there).map_err(io_error(&path))?;
    if there != header {
        let message = "its header is not that of the shard in the journal: it is another file";
        return Err(broken(&path, message.into()));
    }
    Ok((file, metadata, header.len()))
}

/// What a safetensors header says.
#[derive(Debug, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<Source>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug, Deserialize)]
struct Source {
    capture: String,
    texts: String,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The journal line of a shard, from the shard itself. Its checksum is taken anew, so it says nothing of what happened
/// to the file before.
///
/// capture: the one that a shard belongs to which does not say it (version 2).
pub(super) fn describe(
    folder: &Path,
    manifest: &Manifest,
    name: &str,
    capture: Option<&str>,
) -> Result<Shard, StoreError> {
    let path = folder.join(name);
    let header = read_header(&path)?;
    let rows = (header.tensors.get("text")).and_then(|text| text.shape.first().copied());
    let rows =
        rows.ok_or_else(|| broken(&path, "it has no tensor `text`: it is no shard".into()))?;
    let (capture, texts) = match (header.metadata, capture) {
        (Some(source), _) => (source.capture, source.texts.parse().unwrap_or(0)),
        (None, Some(capture)) => (capture.to_owned(), count_texts(&path, rows)?),
        (None, None) => {
            let message = "it does not say to which capture it belongs";
            return Err(broken(&path, message.into()));
        }
    };
    let mut shard = Shard {
        file: name.to_owned(),
        rows,
        capture,
        texts,
        xxh3: String::new(),
    };
    let (mut file, ..) = open_checked(folder, manifest, &shard)?;
    shard.xxh3 = checksum(&path, &mut file)?;
    Ok(shard)
}

/// The manifest of the store that a shard belongs to.
pub(super) fn manifest_of(path: &Path) -> Result<Manifest, StoreError> {
    let header = read_header(path)?;
    let mut layers: Vec<(usize, u32, &Tensor)> = (header.tensors.iter())
        .filter_map(|(name, tensor)| {
            let layer = name.strip_prefix("layer.")?.parse().ok()?;
            Some((tensor.data_offsets.0, layer, tensor))
        })
        .collect();
    layers.sort_by_key(|&(offset, layer, _)| (offset, layer));
    let Some((_, _, Tensor { dtype, shape, .. })) = layers.first() else {
        return Err(broken(
            path,
            "it has no tensor `layer.N`: it is no shard".into(),
        ));
    };
    let dtype = Dtype::of_name(dtype).ok_or_else(|| broken(path, format!("it holds {dtype}")))?;
    let width = shape.get(1).copied().unwrap_or(0);
    let numbers = layers.iter().map(|&(_, layer, _)| layer).collect();
    let manifest = Manifest::new(numbers, width, dtype);
    Ok(if header.metadata.is_some() {
        manifest
    } else {
        manifest.of_version_2()
    })
}

fn read_header(path: &Path) -> Result<Header, StoreError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let length = file.metadata().map_err(io_error(path))?.len();
    let no_shard =
        |why: &dyn std::fmt::Display| broken(path, format!("it is no whole shard: {why}"));
    let mut size = [0; 8];
    (file.read_exact(&mut size)).map_err(|error| no_shard(&error))?;
    let size = u64::from_le_bytes(size);
    if size > length {
        return Err(no_shard(&"its header is longer than the file"));
    }
    let mut json = vec![0; usize::try_from(size).unwrap_or(0)];
    (file.read_exact(&mut json)).map_err(|error| no_shard(&error))?;
    serde_json::from_slice(&json).map_err(|error| no_shard(&error))
}

/// How many texts the rows of a shard come from: its tensor `text` comes first behind the header, text by text.
fn count_texts(path: &Path, rows: usize) -> Result<usize, StoreError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(io_error(path))?;
    let length = file.metadata().map_err(io_error(path))?.len();
    if rows.saturating_mul(8) as u64 > length {
        return Err(broken(path, "it was cut".into()));
    }
    let mut text = vec![0; rows * 8];
    file.seek(SeekFrom::Start(u64::from_le_bytes(size).saturating_add(8)))
        .and_then(|_| file.read_exact(&mut text))
        .map_err(io_error(path))?;
    let numbers: &[[u8; 8]] = text.as_chunks().0;
    Ok(numbers.chunk_by(|a, b| a == b).count())
}

/// XXH3 of a file, in hexadecimal.
pub(super) fn checksum(path: &Path, file: &mut File) -> Result<String, StoreError> {
    let mut hash = Xxh3::new();
    let mut block = vec![0; 1 << 20];
    file.rewind().map_err(io_error(path))?;
    loop {
        match file.read(&mut block).map_err(io_error(path))? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => hash.update(&block[..n]),
        }
    }
}
