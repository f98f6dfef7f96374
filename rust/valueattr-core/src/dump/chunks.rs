//! Reads a dump and hands it out in chunks of whole lines, plain or decompressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use super::array::ArrayItems;

/// Bytes of whole lines in a chunk, or one longer line: scanned while they are in the second-level cache.
pub(super) const CHUNK_BYTES: usize = 512 << 10;
/// Chunks that wait between the reading thread and the scanning ones.
const WAITING: usize = 4;
/// A longer line is no generation, and is not held in memory.
pub(super) const LONGEST_LINE: usize = 256 << 20;

/// Whole lines of a dump, at the beginning of a buffer.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub buffer: Vec<u8>,
    pub end: usize,
    /// Lines before these that are longer than any text, and were not kept.
    pub too_long: u64,
}

impl Chunk {
    /// The lines that are kept, without what ends them.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.buffer[..self.end];
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
        ends.map(move |end| {
            let line = &bytes[from..end];
            from = end + 1;
            line.strip_suffix(b"\r").unwrap_or(line)
        })
    }
}

/// Chunks of a dump, in order.
pub struct Chunks {
    source: Source,
    read: Arc<AtomicU64>,
    is_array: bool,
}

enum Source {
    /// What is read stays in the cache of the one core that scans it.
    Here(ChunkReader),
    /// A thread that reads ahead, and buffers to be used again on their way back to it.
    Ahead(Receiver<io::Result<Chunk>>, Sender<Chunk>),
}

impl Chunks {
    /// Opens a file, or standard input for `-`. Gzip and Zstandard are told by their first bytes. For one thread that
    /// scans it reads when it is asked to, for more on a thread of its own. A file that `may_be_array` and begins with a
    /// bracket is one JSON array, whose items are its lines.
    ///
    /// # Errors
    /// It cannot be opened, or its beginning cannot be read.
    pub fn open(path: &Path, threads: usize, may_be_array: bool) -> io::Result<Self> {
        let source: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let mut file = File::open(path)?;
            file.rewind().ok(); // a directory opens too, and fails at its first read
            Box::new(file)
        };
        let read = Arc::new(AtomicU64::new(0));
        let counting = CountingRead(source, Arc::clone(&read));
        let mut reader = ChunkReader::new(counting, may_be_array)?;
        let is_array = reader.is_array;
        if threads == 1 {
            let source = Source::Here(reader);
            return Ok(Self {
                source,
                read,
                is_array,
            });
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
        Ok(Self {
            source,
            read,
            is_array,
        })
    }

    /// Puts the next lines in place of those in `chunk`; whether there are any.
    pub(super) fn next(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
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

    /// Whether the lines are items of one JSON array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.is_array
    }
}

/// Adds up the bytes that are read.
pub(super) struct CountingRead(pub Box<dyn Read + Send>, pub Arc<AtomicU64>);

impl Read for CountingRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// What editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads whole lines, decompressed and without a byte-order mark.
pub(super) struct ChunkReader {
    source: Box<dyn Read + Send>,
    /// The beginning of a line that the last chunk ended in; at first, that of the file.
    begun: Vec<u8>,
    is_array: bool,
}

impl ChunkReader {
    /// Begins to read, and finds out whether what may be an array is one.
    pub fn new(source: CountingRead, may_be_array: bool) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(1 << 20, source);
        let magic = source.fill_buf()?;
        let mut source: Box<dyn Read + Send> = if magic.starts_with(&[0x1F, 0x8B]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(source))
        } else if magic.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Box::new(zstd::Decoder::with_buffer(source)?)
        } else {
            // From here on, bytes are read straight to where they are wanted, not through the buffer.
            let beginning = io::Cursor::new(source.buffer().to_vec());
            Box::new(beginning.chain(source.into_inner()))
        };
        let mut begun = Vec::new();
        read_more(&mut source, &mut begun, BYTE_ORDER_MARK.len())?;
        if begun == BYTE_ORDER_MARK {
            begun.clear();
        }
        while may_be_array
            && begun.trim_ascii().is_empty()
            && read_more(&mut source, &mut begun, 1 << 10)? > 0
        {}
        let is_array = may_be_array && begun.trim_ascii_start().starts_with(b"[");
        if is_array {
            let items = begun.trim_ascii_start()[1..].to_vec();
            source = Box::new(ArrayItems::new(io::Cursor::new(items).chain(source)));
            begun.clear();
        }
        Ok(Self {
            source,
            begun,
            is_array,
        })
    }

    /// Does what [`Chunks::next`] says.
    pub fn read(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        let buffer = &mut chunk.buffer;
        chunk.too_long = 0;
        let mut filled = self.begun.len();
        buffer.resize(buffer.len().max(CHUNK_BYTES).max(filled), 0);
        buffer[..filled].copy_from_slice(&self.begun);
        self.begun.clear();
        let mut searched = 0;
        loop {
            let wanted = CHUNK_BYTES.saturating_sub(filled).max(CHUNK_BYTES / 2);
            buffer.resize(buffer.len().max(filled + wanted), 0);
            let read = read_full(&mut self.source, &mut buffer[filled..filled + wanted])?;
            filled += read;
            if let Some(last) = memchr::memrchr(b'\n', &buffer[searched..filled]) {
                chunk.end = searched + last;
                self.begun.extend_from_slice(&buffer[chunk.end + 1..filled]);
                return Ok(true);
            }
            if read == 0 {
                chunk.end = filled;
                return Ok(filled > 0 || chunk.too_long > 0);
            }
            searched = filled;
            if filled > LONGEST_LINE {
                filled = skip_line(&mut self.source, buffer)?;
                searched = 0;
                chunk.too_long += 1;
            }
        }
    }
}

/// Reads until the buffer is full or nothing is left, and says how many bytes it read.
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

/// Reads so many bytes more, or all that are left, and says how many there were.
fn read_more(source: &mut dyn Read, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let before = bytes.len();
    bytes.resize(before + most, 0);
    let read = read_full(source, &mut bytes[before..])?;
    bytes.truncate(before + read);
    Ok(read)
}

/// Reads to the end of the line, and says how many bytes of what follows it are at the beginning of the buffer.
fn skip_line(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = read_full(source, &mut buffer[..CHUNK_BYTES])?;
        if read == 0 {
            return Ok(0);
        }
        if let Some(end) = memchr::memchr(b'\n', &buffer[..read]) {
            buffer.copy_within(end + 1..read, 0);
            return Ok(read - end - 1);
        }
    }
}
