//! Reads dumps of generations: texts by the line, plain or compressed, as JSON or as they are.
//!
//! [`Chunks`] reads, decompresses and hands out whole lines, half a megabyte at a time in buffers that are used again, so
//! that memory does not grow with the file; [`Lines`] takes the one field out of each line, which is scanned while it is
//! in the cache.

mod json;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use rayon::prelude::*;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use json::read_text;

use crate::scan::{Counts, Lexicon, Scratch, Span, ThreadsError, pool};

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

/// Whole lines of a dump, at the beginning of a buffer.
#[derive(Debug, Default)]
struct Chunk {
    buffer: Vec<u8>,
    end: usize,
    /// Lines before these that are longer than any text, and were not kept.
    too_long: u64,
}

impl Chunk {
    /// The lines that are kept, without white space around them.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.buffer[..self.end];
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
        ends.map(move |end| {
            let line = bytes[from..end].trim_ascii();
            from = end + 1;
            line
        })
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

/// Chunks of a dump, in order.
pub struct Chunks {
    source: Source,
    read: Arc<AtomicU64>,
}

enum Source {
    /// What is read stays in the cache of the one core that scans it.
    Here(Reader),
    /// A thread that reads ahead, and buffers to be used again on their way back to it.
    Ahead(Receiver<io::Result<Chunk>>, Sender<Chunk>),
}

impl Chunks {
    /// Opens a file, or standard input for `-`. Gzip and Zstandard are told by their first bytes. For one thread that
    /// scans it reads when it is asked to, for more on a thread of its own.
    ///
    /// # Errors
    /// It cannot be opened, or its beginning cannot be read.
    pub fn open(path: &Path, threads: usize) -> io::Result<Self> {
        let source: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let mut file = File::open(path)?;
            file.rewind().ok(); // a directory opens too, and fails at its first read
            Box::new(file)
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut reader = Reader::new(Counted(source, Arc::clone(&read)))?;
        if threads == 1 {
            let source = Source::Here(reader);
            return Ok(Self { source, read });
        }
        let (send, chunks) = sync_channel(WAITING);
        let (give_back, spent) = channel();
        thread::Builder::new().spawn(move || {
            loop {
                let mut chunk = spent.try_recv().unwrap_or_default();
                let next = match reader.read(&mut chunk) {
                    Ok(false) => return,
                    Ok(true) => Ok(chunk),
                    Err(error) => Err(error),
                };
                let is_last = next.is_err();
                // The receiver is gone when nobody wants more.
                if send.send(next).is_err() || is_last {
                    return;
                }
            }
        })?;
        let source = Source::Ahead(chunks, give_back);
        Ok(Self { source, read })
    }

    /// Puts the next lines in place of those in `chunk`; whether there are any.
    fn next(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        match &mut self.source {
            Source::Here(reader) => reader.read(chunk),
            Source::Ahead(chunks, give_back) => {
                let Ok(next) = chunks.recv() else {
                    return Ok(false);
                };
                // A reader that has come to the end wants no buffers.
                give_back.send(std::mem::replace(chunk, next?)).ok();
                Ok(true)
            }
        }
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
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

struct Reader {
    source: Box<dyn Read + Send>,
    /// The beginning of a line that the last chunk ended in.
    begun: Vec<u8>,
}

impl Reader {
    fn new(source: Counted) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(1 << 20, source);
        let magic = source.fill_buf()?;
        let source: Box<dyn Read + Send> = if magic.starts_with(&[0x1F, 0x8B]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(source))
        } else if magic.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Box::new(zstd::Decoder::with_buffer(source)?)
        } else {
            // From here on what is read goes where it is wanted, not through the buffer.
            let beginning = io::Cursor::new(source.buffer().to_vec());
            Box::new(beginning.chain(source.into_inner()))
        };
        Ok(Self {
            source,
            begun: Vec::new(),
        })
    }

    /// As [`Chunks::next`].
    fn read(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        let buffer = &mut chunk.buffer;
        chunk.too_long = 0;
        let mut filled = self.begun.len();
        buffer.resize(buffer.len().max(CHUNK_BYTES).max(filled), 0);
        buffer[..filled].copy_from_slice(&self.begun);
        self.begun.clear();
        loop {
            let before = filled;
            let wanted = CHUNK_BYTES.saturating_sub(filled).max(CHUNK_BYTES / 2);
            buffer.resize(buffer.len().max(filled + wanted), 0);
            filled += read_full(&mut self.source, &mut buffer[filled..filled + wanted])?;
            if filled == before {
                chunk.end = filled;
                return Ok(filled > 0 || chunk.too_long > 0);
            }
            if let Some(last) = memchr::memrchr(b'\n', &buffer[before..filled]) {
                chunk.end = before + last;
                self.begun.extend_from_slice(&buffer[chunk.end + 1..filled]);
                return Ok(true);
            }
            if filled > LONGEST_LINE {
                filled = 0;
                skip_line(&mut self.source)?;
                chunk.too_long += 1;
            }
        }
    }
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
    next_row: u64,
}

/// Scans a dump chunk by chunk, several at a time.
pub struct DumpScan {
    chunks: Chunks,
    next_row: u64,
    lines: Lines,
    spans: bool,
    pool: rayon::ThreadPool,
    /// One a thread.
    workers: Vec<Worker>,
}

/// A chunk, and what scanning it takes and gives.
#[derive(Default)]
struct Worker {
    chunk: Chunk,
    scanned: Scanned,
    scratch: Scratch,
    text: String,
}

impl DumpScan {
    /// Scans with at most so many threads, beside one that reads if they are several; 0 is one per core.
    ///
    /// # Errors
    /// The operating system refuses to start threads.
    pub fn new(
        chunks: Chunks,
        lines: Lines,
        spans: bool,
        threads: usize,
    ) -> Result<Self, ThreadsError> {
        let pool = pool(threads)?;
        let workers = std::iter::repeat_with(Worker::default);
        Ok(Self {
            chunks,
            next_row: 0,
            lines,
            spans,
            workers: workers.take(pool.current_num_threads()).collect(),
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
    pub fn next(&mut self, lexicon: &Lexicon) -> io::Result<Option<Scanned>> {
        let mut batch = Scanned {
            next_row: self.next_row,
            ..Scanned::default()
        };
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let mut ready = 0;
            while ready < self.workers.len() && self.chunks.next(&mut self.workers[ready].chunk)? {
                ready += 1;
            }
            let ready = &mut self.workers[..ready];
            let (lines, spans) = (&self.lines, self.spans);
            match &mut *ready {
                [] if bytes == 0 => return Ok(None),
                [] => break,
                [worker] => worker.scan(lexicon, lines, spans),
                several => self.pool.install(|| {
                    (several.par_iter_mut()).for_each(|worker| worker.scan(lexicon, lines, spans));
                }),
            }
            for worker in ready {
                bytes += worker.chunk.end.max(1);
                batch.append(&mut worker.scanned);
                if worker.chunk.buffer.len() > 2 * CHUNK_BYTES {
                    *worker = Worker::default(); // a long line's buffers are too large to keep
                }
            }
        }
        self.next_row = batch.next_row;
        Ok(Some(batch))
    }
}

impl Scanned {
    /// Moves the rows of the next chunk, which are counted from its beginning, behind these.
    fn append(&mut self, next: &mut Self) {
        let first_row = self.next_row;
        self.rows
            .extend(next.rows.drain(..).map(|row| first_row + row));
        self.counts.append(&mut next.counts);
        self.spans.append(&mut next.spans);
        self.bad.extend(next.bad.drain(..).map(|bad| BadLine {
            row: first_row + bad.row,
            ..bad
        }));
        self.next_row += std::mem::take(&mut next.next_row);
    }
}

impl Worker {
    fn scan(&mut self, lexicon: &Lexicon, lines: &Lines, want_spans: bool) {
        let scanned = &mut self.scanned;
        for row in 0..self.chunk.too_long {
            let message = format!("longer than {} MiB", LONGEST_LINE >> 20);
            scanned.bad.push(BadLine { row, message });
        }
        scanned.next_row = self.chunk.too_long;
        for line in self.chunk.lines() {
            let row = scanned.next_row;
            scanned.next_row += 1;
            if line.is_empty() {
                continue;
            }
            match lines.text_of(line, &mut self.text) {
                Ok(text) => {
                    scanned.rows.push(row);
                    scanned.counts.push(lexicon.count(&text, &mut self.scratch));
                    if want_spans {
                        scanned.spans.push(lexicon.spans(&text, &mut self.scratch));
                    }
                }
                Err(message) => scanned.bad.push(BadLine { row, message }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
