//! A store, open to read.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use memmap2::{Advice, Mmap};

use super::error::{StoreError, broken, io_error};
use super::format::{Dtype, Manifest, SOURCE_BYTES, Shard};
use super::journal::{Journal, read_manifest};
use super::shard::{checksum, open_checked};

/// A committed store, mapped.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    pub manifest: Manifest,
    pub shards: Vec<Shard>,
    maps: Vec<Mmap>,
    /// When each shard's file had last changed, as of when it was opened.
    changed: Vec<SystemTime>,
    /// Where the data of each shard begins, behind its header.
    data: Vec<usize>,
    /// First row of each shard, and the number of rows.
    first_rows: Vec<usize>,
}

/// Rows this far apart are read with what lies between them.
const MOST_GAP: usize = 4;

/// The memory that reading rows needs. Keep it from one call to the next.
#[derive(Debug, Default)]
pub struct RowBuffer {
    bytes: Vec<u8>,
    row: Vec<f32>,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub text: i64,
    pub token: i64,
}

impl Store {
    /// Opens what is committed.
    ///
    /// # Errors
    /// The folder is no store, is of another version, its journal was lost, or a committed shard is missing, has another
    /// length, or another header than its journal line asks for.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let manifest = read_manifest(path)?;
        let shards = Journal::read(path, &manifest)?.committed;
        let mut store = Self {
            path: path.to_owned(),
            manifest,
            maps: Vec::with_capacity(shards.len()),
            changed: Vec::with_capacity(shards.len()),
            data: Vec::with_capacity(shards.len()),
            first_rows: vec![0],
            shards: Vec::new(),
        };
        for shard in shards {
            let (map, changed, header_bytes) = store.map(&shard)?;
            store.maps.push(map);
            store.changed.push(changed);
            store.data.push(header_bytes);
            store.first_rows.push(store.rows() + shard.rows);
            store.shards.push(shard);
        }
        Ok(store)
    }

    fn map(&self, shard: &Shard) -> Result<(Mmap, SystemTime, usize), StoreError> {
        let path = self.path.join(&shard.file);
        let (file, metadata, header_bytes) = open_checked(&self.path, &self.manifest, shard)?;
        let changed = metadata.modified().map_err(io_error(&path))?;
        // SAFETY: a shard never changes after it is renamed to its place. Whoever changes or cuts it under a reader breaks
        // the contract of every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(io_error(&path))?;
        Ok((map, changed, header_bytes))
    }

    /// Rows of every layer.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.first_rows.last().copied().unwrap_or_default()
    }

    /// File and byte offset of a layer, by its index, in a shard.
    #[must_use]
    pub fn locate(&self, shard: usize, layer: usize) -> (PathBuf, usize) {
        let offset = self.data[shard] + self.manifest.layer_offset(self.shards[shard].rows, layer);
        (self.path.join(&self.shards[shard].file), offset)
    }

    /// Where every row comes from.
    #[must_use]
    pub fn sources(&self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.rows());
        for ((map, &data), shard) in self.maps.iter().zip(&self.data).zip(&self.shards) {
            let sources = &map[data..data + SOURCE_BYTES * shard.rows];
            let (text, token) = sources.split_at(sources.len() / 2);
            let pairs = text.as_chunks().0.iter().zip(token.as_chunks().0);
            rows.extend(pairs.map(|(&text, &token)| Row {
                text: i64::from_le_bytes(text),
                token: i64::from_le_bytes(token),
            }));
        }
        rows
    }

    /// Copies rows of a layer, by its index, into `out` (rows, width) as f32.
    ///
    /// # Errors
    /// A row that is not there; a shard that changed since the store was opened.
    pub fn gather(&self, layer: usize, rows: &[usize], out: &mut [f32]) -> Result<(), StoreError> {
        let (size, width) = (self.manifest.row_bytes(), self.manifest.width);
        if width == 0 {
            return Ok(());
        }
        let mut checked = vec![false; self.shards.len()];
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
            let (shard, within) = self.find(row)?;
            if !checked[shard] {
                // A process that reads a mapped file beyond where it was cut is killed.
                let path = self.path.join(&self.shards[shard].file);
                self.check_unchanged(shard, &path, fs::metadata(&path))?;
                checked[shard] = true;
            }
            let start = self.data[shard]
                + self.manifest.layer_offset(self.shards[shard].rows, layer)
                + within * size;
            let values = &self.maps[shard][start..start + size];
            self.widen(values, out);
        }
        Ok(())
    }

    fn widen(&self, values: &[u8], out: &mut [f32]) {
        match self.manifest.dtype {
            Dtype::F32 => copy_f32(values, out),
            Dtype::F16 => widen(values, out, |bits, out| {
                bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
            }),
            Dtype::BF16 => widen(values, out, |bits, out| {
                bits.reinterpret_cast::<bf16>().convert_to_f32_slice(out);
            }),
        }
    }

    /// Hands rows of a layer, by its index, to `each` as f32, in order; `rows` ascends.
    ///
    /// The files are read, not mapped: of a store larger than memory no more is held than the buffer, and a file that
    /// somebody cuts is an error.
    ///
    /// # Errors
    /// A row that is not there; a shard that cannot be read, or changed since the store was opened.
    pub fn read(
        &self,
        layer: usize,
        rows: &[usize],
        buffer: &mut RowBuffer,
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), StoreError> {
        let size = self.manifest.row_bytes();
        buffer.row.resize(self.manifest.width, 0.0);
        for in_shard in rows.chunk_by(|&a, &b| self.shard_of(a) == self.shard_of(b)) {
            let (shard, _) = self.find(in_shard[0])?;
            let mut file = self.reopen(shard)?;
            let data =
                self.data[shard] + self.manifest.layer_offset(self.shards[shard].rows, layer);
            // Rows that nearly touch are read in one go.
            for run in in_shard.chunk_by(|a, b| b - a <= MOST_GAP) {
                let first = run[0] - self.first_rows[shard];
                let bytes = (run[run.len() - 1] - run[0] + 1) * size;
                buffer.bytes.resize(bytes.max(buffer.bytes.len()), 0);
                let at = (data + first * size) as u64;
                (file.seek(SeekFrom::Start(at)))
                    .and_then(|_| file.read_exact(&mut buffer.bytes[..bytes]))
                    .map_err(io_error(&self.path.join(&self.shards[shard].file)))?;
                for row in run {
                    self.widen(
                        &buffer.bytes[(row - run[0]) * size..][..size],
                        &mut buffer.row,
                    );
                    each(&buffer.row);
                }
            }
        }
        Ok(())
    }

    fn reopen(&self, shard: usize) -> Result<File, StoreError> {
        let path = self.path.join(&self.shards[shard].file);
        let file = File::open(&path).map_err(io_error(&path))?;
        self.check_unchanged(shard, &path, file.metadata())?;
        Ok(file)
    }

    fn check_unchanged(
        &self,
        shard: usize,
        path: &Path,
        now: io::Result<Metadata>,
    ) -> Result<(), StoreError> {
        let now = now.map_err(io_error(path))?;
        let changed = now.modified().map_err(io_error(path))?;
        if now.len() == self.maps[shard].len() as u64 && changed == self.changed[shard] {
            return Ok(());
        }
        Err(broken(path, "it changed while it was read".into()))
    }

    /// The shard that holds a row; one beyond the last for a row that is not there.
    fn shard_of(&self, row: usize) -> usize {
        self.first_rows.partition_point(|&first| first <= row) - 1
    }

    fn find(&self, row: usize) -> Result<(usize, usize), StoreError> {
        let rows = self.rows();
        if row >= rows {
            return Err(StoreError::NoSuchRow { row, rows });
        }
        let shard = self.shard_of(row);
        Ok((shard, row - self.first_rows[shard]))
    }

    /// Tells the system that these rows of a layer will be wanted soon; or are wanted `now`, all in one go.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn will_need(
        &self,
        layer: usize,
        from: usize,
        to: usize,
        now: bool,
    ) -> Result<(), StoreError> {
        #[cfg(target_os = "linux")]
        let wanted_now = Advice::PopulateRead;
        #[cfg(not(target_os = "linux"))]
        let wanted_now = Advice::WillNeed;
        let advice = if now { wanted_now } else { Advice::WillNeed };
        let size = self.manifest.row_bytes();
        let mut from = from;
        while from < to {
            let (shard, within) = self.find(from)?;
            let until = to.min(self.first_rows[shard + 1]);
            let start = self.data[shard]
                + self.manifest.layer_offset(self.shards[shard].rows, layer)
                + within * size;
            // Advice only: where the system knows none, rows are read when they are wanted.
            let _ = self.maps[shard].advise_range(advice, start, (until - from) * size);
            from = until;
        }
        Ok(())
    }

    /// Reads everything and compares checksums.
    ///
    /// # Errors
    /// Names the first shard that differs.
    pub fn verify(&self) -> Result<(), StoreError> {
        for shard in &self.shards {
            let path = self.path.join(&shard.file);
            let mut file = File::open(&path).map_err(io_error(&path))?;
            let found = checksum(&path, &mut file)?;
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

fn copy_f32(values: &[u8], out: &mut [f32]) {
    for (out, &value) in out.iter_mut().zip(values.as_chunks().0) {
        *out = f32::from_le_bytes(value);
    }
}

/// Widens a row by way of a small buffer on the stack, because a row in a file need not be aligned.
fn widen(values: &[u8], out: &mut [f32], convert: impl Fn(&[u16], &mut [f32])) {
    const AT_ONCE: usize = 256;
    for (bytes, out) in values.chunks(2 * AT_ONCE).zip(out.chunks_mut(AT_ONCE)) {
        let mut aligned = [0; AT_ONCE];
        for (to, &from) in aligned.iter_mut().zip(bytes.as_chunks().0) {
            *to = u16::from_le_bytes(from);
        }
        convert(&aligned[..out.len()], out);
    }
}
