//! Reads dumps of generations: texts by the line, plain or compressed, as JSON or as they are.
//!
//! [`Chunks`] decompresses on a thread of its own and hands out whole lines, a few megabytes at a time, so that memory
//! does not grow with the file; [`Lines`] takes the one field out of each line, which is scanned while it is in the cache.

mod json;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rayon::prelude::*;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use json::read_text;

use crate::scan::{Counts, Lexicon, Scratch, Span, ThreadsError};

/// Bytes of whole lines in a chunk, or one longer line: scanned while they are in the second-level cache.
const CHUNK_BYTES: usize = 512 << 10;
/// Bytes scanned at once for the caller, or a chunk a thread.
const BATCH_BYTES: usize = 16 << 20;
/// Chunks that wait between the reading thread and the scanning ones.
const WAITING: usize = 4;
/// A longer line is no generation, and is not held in memory.
const LONGEST_LINE: usize = 256 << 20;

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lines {
    /// The text itself.
    Text,
    /// A JSON object or array with the text at this path.
    Json { field: Vec<Step>, chat: bool },
}

/// A step into JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    /// In an array, or a key of digits in an object.
    Index(usize),
}

impl Step {
    /// The steps of a dotted path such as `choices.0.message.content`.
    #[must_use]
    pub fn path(dotted: &str) -> Vec<Self> {
        dotted
            .split('.')
            .map(|step| {
                step.parse()
                    .map_or_else(|_| Self::Key(step.to_owned()), Self::Index)
            })
            .collect()
    }

    fn is_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Index(own) => key.parse() == Ok(*own),
        }
    }
}

/// A line that holds no text to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 0.
    pub row: u64,
    pub message: String,
}

/// Whole lines of a dump.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    first_row: u64,
    bad: Vec<BadLine>,
}

impl Chunk {
    /// The lines that are more than white space, and their rows.
    fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', &self.bytes).chain([self.bytes.len()]);
        (self.first_row..)
            .zip(ends)
            .map(move |(row, end)| {
                let line = self.bytes[from..end].trim_ascii();
                from = end + 1;
                (row, line)
            })
            .filter(|(_, line)| !line.is_empty())
    }
}

impl Lines {
    /// The text of a line, in the line or in `buffer`.
    fn text_of<'a>(&self, line: &'a [u8], buffer: &'a mut String) -> Result<Cow<'a, str>, String> {
        match self {
            Self::Text => simdutf8::compat::from_utf8(line)
                .map(Cow::Borrowed)
                .map_err(|error| {
                    format!(
                        "expected UTF-8, found byte {:#04x}",
                        line[error.valid_up_to()]
                    )
                }),
            Self::Json { field, chat } => {
                if !chat
                    && let Ok(line) = simdutf8::basic::from_utf8(line)
                    && read_text(line, field, buffer)
                {
                    return Ok(Cow::Borrowed(buffer));
                }
                parsed_text(line, field, *chat).map(Cow::Owned)
            }
        }
    }
}

/// The text at a path of a line of JSON, or what is wrong with it.
fn parsed_text(line: &[u8], field: &[Step], chat: bool) -> Result<String, String> {
    let mut deserializer = sonic_rs::Deserializer::from_slice(line);
    let seed = At { path: field, chat };
    let found = seed.deserialize(&mut deserializer).and_then(|found| {
        // Of what follows the value only its presence matters.
        deserializer.end().map(|()| found)
    });
    match found {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Nothing(expected)) => Err(format!("{}: {expected}", dotted(field))),
        Err(error) => Err(format!(
            "no JSON: {}",
            error.to_string().lines().next().unwrap_or_default()
        )),
    }
}

fn dotted(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join(".")
}

enum Found {
    Text(String),
    Nothing(&'static str),
}

const MISSING: &str = "there is no such field";

/// Takes the text at a path out of a JSON value.
#[derive(Clone, Copy)]
struct At<'p> {
    path: &'p [Step],
    chat: bool,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        if self.path.is_empty() && !self.chat {
            Ok(Found::Text(text.to_owned()))
        } else {
            Ok(Found::Nothing(self.instead("a text")))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing(self.instead("an object"));
        let Some((step, path)) = self.path.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(found);
        };
        while let Some(is_wanted) = map.next_key_seed(IsKey(step))? {
            if is_wanted {
                found = map.next_value_seed(At { path, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut found =
            Found::Nothing(self.instead("a list; for lists of chat messages there is --chat"));
        match self.path.split_first() {
            None if self.chat => {
                let mut turns = String::new();
                while let Some(turn) = list.next_element::<Turn>()? {
                    if turn.role == "assistant" {
                        turn.content.add_to(&mut turns);
                    }
                }
                found = Found::Text(turns);
            }
            Some((Step::Index(index), path)) => {
                for _ in 0..*index {
                    if list.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(Found::Nothing(MISSING));
                    }
                }
                if let Some(there) = list.next_element_seed(At { path, ..self })? {
                    found = there;
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
            _ => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("null")))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a boolean")))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }
}

/// Whether a key is the one of a step.
struct IsKey<'p>(&'p Step);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0.is_key(key))
    }
}

impl At<'_> {
    /// What to say when this is found where a path ends, or before it does.
    fn instead(self, kind: &'static str) -> &'static str {
        if !self.path.is_empty() {
            return MISSING;
        }
        match kind {
            "a text" => "expected a list of chat messages, found a text",
            "null" => "expected a text, found null",
            "a number" => "expected a text, found a number",
            "a boolean" => "expected a text, found a boolean",
            "an object" => "expected a text, found an object",
            _ => "expected a text, found a list; for lists of chat messages there is --chat",
        }
    }
}

#[derive(serde::Deserialize)]
struct Turn {
    role: String,
    #[serde(default)]
    content: Content,
}

/// What a turn says: a text, parts of which some are texts, or nothing (a call of a tool).
#[derive(serde::Deserialize, Default)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
    #[default]
    Nothing,
}

#[derive(serde::Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    /// Texts are paragraphs: no phrase runs from one to the next.
    fn add_to(&self, turns: &mut String) {
        let parts: Vec<&str> = match self {
            Self::Text(text) => vec![text],
            Self::Parts(parts) => parts.iter().map(|part| part.text.as_str()).collect(),
            Self::Nothing => Vec::new(),
        };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if !turns.is_empty() {
                turns.push_str("\n\n");
            }
            turns.push_str(part);
        }
    }
}

/// Chunks of a dump, in order, read on a thread of its own.
pub struct Chunks {
    chunks: Receiver<io::Result<Chunk>>,
    read: Arc<AtomicU64>,
}

impl Chunks {
    /// Opens a file, or standard input for `-`. Gzip and Zstandard are told by their first bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let source: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let mut file = File::open(path)?;
            file.rewind().ok(); // a directory opens too, and fails at its first read
            Box::new(file)
        };
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted(source, Arc::clone(&read));
        let (send, chunks) = sync_channel(WAITING);
        thread::Builder::new().spawn(move || {
            // The receiver is gone when nobody wants more.
            let _ = read_chunks(counted, |chunk| send.send(Ok(chunk)).is_ok())
                .map_err(|error| send.send(Err(error)));
        })?;
        Ok(Self { chunks, read })
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Iterator for Chunks {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunks.recv().ok()
    }
}

struct Counted(Box<dyn Read + Send>, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn read_chunks(source: Counted, mut take: impl FnMut(Chunk) -> bool) -> io::Result<()> {
    let mut source = BufReader::with_capacity(1 << 20, source);
    let magic = source.fill_buf()?;
    let mut source: Box<dyn Read> = if magic.starts_with(&[0x1F, 0x8B]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(source))
    } else if magic.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        Box::new(zstd::Decoder::with_buffer(source)?)
    } else {
        // From here on what is read goes where it is wanted, not through the buffer.
        let beginning = io::Cursor::new(source.buffer().to_vec());
        Box::new(beginning.chain(source.into_inner()))
    };
    let mut chunk = Chunk::default();
    let mut row = 0;
    loop {
        let wanted = CHUNK_BYTES
            .saturating_sub(chunk.bytes.len())
            .max(CHUNK_BYTES / 2);
        let before = chunk.bytes.len();
        chunk.bytes.resize(before + wanted, 0);
        let filled = read_full(&mut source, &mut chunk.bytes[before..])?;
        chunk.bytes.truncate(before + filled);
        if chunk.bytes.len() == before {
            break;
        }
        let Some(last) = memchr::memrchr(b'\n', &chunk.bytes[before..]).map(|i| before + i) else {
            if chunk.bytes.len() > LONGEST_LINE {
                chunk.bytes.clear();
                skip_line(&mut source)?;
                let message = format!("longer than {} MiB", LONGEST_LINE >> 20);
                chunk.bad.push(BadLine { row, message });
                row += 1;
                chunk.first_row = row;
            }
            continue;
        };
        let mut rest = Vec::with_capacity(2 * CHUNK_BYTES);
        rest.extend_from_slice(&chunk.bytes[last + 1..]);
        chunk.bytes.truncate(last);
        row += memchr::memchr_iter(b'\n', &chunk.bytes).count() as u64 + 1;
        let next = Chunk {
            bytes: rest,
            first_row: row,
            bad: Vec::new(),
        };
        if !take(std::mem::replace(&mut chunk, next)) {
            return Ok(());
        }
    }
    take(chunk);
    Ok(())
}

/// Reads until the buffer is full, or nothing is left; how many bytes.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads to the end of the line.
fn skip_line(source: &mut dyn Read) -> io::Result<()> {
    let mut byte = [0];
    // A byte at a time, from buffers: what follows the line is not to be lost.
    while source.read(&mut byte)? == 1 && byte[0] != b'\n' {}
    Ok(())
}

/// What a few chunks hold, row by row.
#[derive(Debug, Default)]
pub struct Scanned {
    pub rows: Vec<u64>,
    pub counts: Vec<Counts>,
    /// Spans of each row, if they were asked for.
    pub spans: Vec<Vec<Span>>,
    pub bad: Vec<BadLine>,
}

/// Scans a dump chunk by chunk, several at a time.
pub struct DumpScan {
    chunks: Chunks,
    lines: Lines,
    spans: bool,
    pool: rayon::ThreadPool,
}

impl DumpScan {
    /// Scans with at most so many threads, beside the one that reads; 0 is one per core.
    ///
    /// # Errors
    /// The operating system refuses to start threads.
    pub fn new(
        chunks: Chunks,
        lines: Lines,
        spans: bool,
        threads: usize,
    ) -> Result<Self, ThreadsError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| ThreadsError(threads, error))?;
        Ok(Self {
            chunks,
            lines,
            spans,
            pool,
        })
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.chunks.bytes_read()
    }

    /// The next rows, or `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or decompressed.
    pub fn next(&mut self, lexicon: &Lexicon) -> Option<io::Result<Scanned>> {
        let mut batch = Scanned::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let at_once = self.chunks.by_ref().take(self.pool.current_num_threads());
            let ready: Vec<Chunk> = match at_once.collect() {
                Ok(ready) => ready,
                Err(error) => return Some(Err(error)),
            };
            if ready.is_empty() {
                return (bytes > 0).then_some(Ok(batch));
            }
            bytes += ready
                .iter()
                .map(|chunk| chunk.bytes.len().max(1))
                .sum::<usize>();
            let (lines, spans) = (&self.lines, self.spans);
            let scanned: Vec<Scanned> = self.pool.install(|| {
                (ready.into_par_iter())
                    .map(|chunk| scanned(lexicon, chunk, lines, spans))
                    .collect()
            });
            batch = scanned.into_iter().fold(batch, Scanned::and);
        }
        Some(Ok(batch))
    }
}

impl Scanned {
    fn and(mut self, mut next: Self) -> Self {
        self.rows.append(&mut next.rows);
        self.counts.append(&mut next.counts);
        self.spans.append(&mut next.spans);
        self.bad.append(&mut next.bad);
        self
    }
}

fn scanned(lexicon: &Lexicon, mut chunk: Chunk, lines: &Lines, want_spans: bool) -> Scanned {
    let mut scanned = Scanned {
        bad: std::mem::take(&mut chunk.bad),
        ..Scanned::default()
    };
    let (mut scratch, mut buffer) = (Scratch::default(), String::new());
    for (row, line) in chunk.lines() {
        match lines.text_of(line, &mut buffer) {
            Ok(text) => {
                scanned.rows.push(row);
                scanned.counts.push(lexicon.count(&text, &mut scratch));
                if want_spans {
                    scanned.spans.push(lexicon.spans(&text, &mut scratch));
                }
            }
            Err(message) => scanned.bad.push(BadLine { row, message }),
        }
    }
    scanned.bad.sort_by_key(|bad| bad.row);
    scanned
}

#[cfg(test)]
mod tests;
