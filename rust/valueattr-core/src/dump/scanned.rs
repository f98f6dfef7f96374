//! Scans a dump, chunk by chunk and several at a time; rows come out in the order of the file.

use std::io;

use rayon::prelude::*;

use super::chunks::{CHUNK_BYTES, Chunk, Chunks, LONGEST_LINE};
use super::lines::Lines;
use crate::scan::{Counts, Lexicon, Scratch, Span, ThreadsError, pool};

/// Bytes that are scanned at once for the caller; more where threads have a chunk each.
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// A line that holds no text to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The number of the line, counted from 0.
    pub row: u64,
    pub message: String,
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
    slots: Vec<Slot>,
}

/// A chunk, and what scanning it takes and gives.
#[derive(Default)]
struct Slot {
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
        let slots = std::iter::repeat_with(Slot::default);
        Ok(Self {
            chunks,
            next_row: 0,
            lines,
            spans,
            slots: slots.take(pool.current_num_threads()).collect(),
            pool,
        })
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.chunks.bytes_read()
    }

    /// Whether the lines are items of one JSON array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.chunks.is_array()
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
            while ready < self.slots.len() && self.chunks.next(&mut self.slots[ready].chunk)? {
                ready += 1;
            }
            let ready = &mut self.slots[..ready];
            let (lines, spans) = (&self.lines, self.spans);
            match &mut *ready {
                [] if bytes == 0 => return Ok(None),
                [] => break,
                [slot] => slot.scan(lexicon, lines, spans),
                several => self.pool.install(|| {
                    (several.par_iter_mut()).for_each(|slot| slot.scan(lexicon, lines, spans));
                }),
            }
            for slot in ready {
                bytes += slot.chunk.end.max(1);
                batch.append(&mut slot.scanned);
                if slot.chunk.buffer.len() > 2 * CHUNK_BYTES {
                    *slot = Slot::default(); // a long line's buffers are too large to keep
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

impl Slot {
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
            if line.trim_ascii().is_empty() {
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
