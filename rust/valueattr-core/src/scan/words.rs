//! Where the words and the sentences of a text begin and end.
//!
//! A word is a maximal run of letters and digits, with single apostrophes inside it. A sentence ends with `.`, `!`,
//! `?` or `…` before white space or closing marks and white space, and at a blank line; it begins at the next word.
//!
//! A block of 64 bytes is settled with a few operations on its masks: adding a bit to a run of ones carries it to the
//! end of the run (the way to go from a full stop over closing marks to the space behind them, and from there to the
//! next word), and the carry out of the sum is the state for the next block.

use super::characters::is_word;
use super::classes::masks;
use super::index::within_text;
use super::simd::{BLOCK, Kernels, Routine, dispatch};

/// Words and beginnings of sentences in a part of a text, in order.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// Begin and end (exclusive) of each word, in bytes of the text, one after the other; then whatever.
    boundaries: Vec<u32>,
    filled: usize,
    /// Byte at which each sentence begins: that of its first word; then whatever.
    sentences: Vec<u32>,
    sentences_filled: usize,
}

/// One word: bytes of the text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub start: usize,
    pub end: usize,
}

impl Words {
    /// The number of complete words.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.filled / 2
    }

    #[inline(always)]
    pub fn get(&self, i: usize) -> Option<Word> {
        let &[start, end] = self.pairs().get(i)?;
        Some(Word {
            start: start as usize,
            end: end as usize,
        })
    }

    pub fn sentences(&self) -> &[u32] {
        &self.sentences[..self.sentences_filled]
    }

    /// Begins and ends of the complete words.
    #[inline(always)]
    pub fn pairs(&self) -> &[[u32; 2]] {
        self.boundaries[..self.filled].as_chunks().0
    }

    /// Forgets the first `words` and the first `sentences`.
    pub fn forget(&mut self, words: usize, sentences: usize) {
        self.boundaries.copy_within(2 * words..self.filled, 0);
        self.filled -= 2 * words;
        self.sentences
            .copy_within(sentences..self.sentences_filled, 0);
        self.sentences_filled -= sentences;
    }

    pub fn clear(&mut self) {
        (self.filled, self.sentences_filled) = (0, 0);
    }

    /// Room for so many more blocks.
    fn make_room(&mut self, blocks: usize) {
        let most = blocks * BLOCK;
        if self.boundaries.len() < self.filled + most {
            self.boundaries.resize(self.filled + most, 0);
        }
        if self.sentences.len() < self.sentences_filled + most {
            self.sentences.resize(self.sentences_filled + most, 0);
        }
    }
}

/// Cuts a text into words block by block; the fields after the first are bits for the next block's first byte.
#[derive(Debug, Clone)]
pub struct Segmenter {
    /// Byte at which the next block begins, in the four bytes that places have.
    base: u32,
    in_word: u64,
    terminated: u64,
    after_newline: u64,
    /// The next word begins a sentence.
    ended: u64,
    beyond_ascii: u64,
}

impl Segmenter {
    pub fn new() -> Self {
        Self {
            base: 0,
            in_word: 0,
            terminated: 0,
            after_newline: 0,
            ended: 1, // the first word begins one
            beyond_ascii: 0,
        }
    }

    /// Whether everything that has been read is ASCII.
    pub fn is_ascii(&self) -> bool {
        self.beyond_ascii == 0
    }

    /// Adds the words of the next `blocks` blocks of a text that
    /// [`check_length`](super::index::check_length) let pass; whether the text goes on after them.
    pub fn read(&mut self, text: &str, blocks: usize, words: &mut Words) -> bool {
        dispatch(Read {
            segmenter: self,
            text,
            blocks,
            words,
        })
    }

    /// Where words begin or end, and where sentences begin.
    #[inline(always)]
    fn block<K: Kernels>(&mut self, kernels: K, text: &str) -> (u64, u64) {
        let base = self.base as usize;
        let (m, high) = masks(kernels, text, base);
        self.beyond_ascii |= high;
        let next = m.apostrophe >> 63 == 1
            && text
                .get(base + BLOCK..)
                .is_some_and(|rest| rest.starts_with(is_word));
        let inside =
            m.apostrophe & (m.word << 1 | self.in_word) & (m.word >> 1 | u64::from(next) << 63);
        let word = m.word | inside;
        let boundaries = word ^ (word << 1 | self.in_word);
        self.in_word = word >> 63;

        let closers = m.closer | m.terminator;
        let (closed, terminated) = carried(m.terminator << 1 | self.terminated, closers);
        self.terminated = terminated | m.terminator >> 63;

        let blanks = m.space & !m.newline;
        let (next_line, after_newline) = carried(m.newline << 1 | self.after_newline, blanks);
        self.after_newline = after_newline | m.newline >> 63;

        let ends = m.space & closed | m.newline & next_line;
        let (begins, ended) = carried(ends | self.ended, !word);
        self.ended = ended;
        let sentences = word & begins;

        (boundaries, sentences)
    }
}

/// What [`Segmenter::read`] does.
struct Read<'a> {
    segmenter: &'a mut Segmenter,
    text: &'a str,
    blocks: usize,
    words: &'a mut Words,
}

impl Routine for Read<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> bool {
        let Self {
            segmenter,
            text,
            blocks,
            words,
        } = self;
        let begin = segmenter.base as usize;
        let end = text
            .len()
            .min(begin.saturating_add(blocks.saturating_mul(BLOCK)));
        words.make_room((end - begin) / BLOCK + 2);
        // In local variables they stay in registers.
        let mut state = segmenter.clone();
        let (mut filled, mut sentences_filled) = (words.filled, words.sentences_filled);
        while (state.base as usize) < end {
            let base = state.base;
            let (boundaries, sentences) = state.block(kernels, text);
            if let Some(room) = words.boundaries[filled..].first_chunk_mut() {
                kernels.places(boundaries, base, room);
            }
            filled += boundaries.count_ones() as usize;
            let mut rest = sentences;
            let out = &mut words.sentences[sentences_filled..];
            for slot in &mut out[..2] {
                *slot = base.wrapping_add(rest.trailing_zeros());
                rest &= rest.wrapping_sub(1);
            }
            for slot in &mut out[2..] {
                if rest == 0 {
                    break;
                }
                *slot = base.wrapping_add(rest.trailing_zeros());
                rest &= rest - 1;
            }
            sentences_filled += sentences.count_ones() as usize;
            state.base += within_text(BLOCK);
        }
        *segmenter = state;
        (words.filled, words.sentences_filled) = (filled, sentences_filled);
        if end < text.len() {
            return true;
        }
        if segmenter.in_word == 1 {
            words.boundaries[words.filled] = within_text(text.len());
            words.filled += 1;
        }
        false
    }
}

/// Where `bits` arrive outside `run` when each walks to the end of the run that it is in, and whether one walks out of
/// the block.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // to the two halves
fn carried(bits: u64, run: u64) -> (u64, u64) {
    // One number of 128 bits: of two sums the compiler would make a vector, and move it to and fro.
    let sum = u128::from(run) + u128::from(bits & run);
    ((sum as u64 | bits) & !run, (sum >> 64) as u64)
}

/// The words of a whole text that [`check_length`](super::index::check_length) let pass.
pub fn words(text: &str) -> Vec<Word> {
    let mut found = Words::default();
    Segmenter::new().read(text, usize::MAX / BLOCK, &mut found);
    (0..found.len()).filter_map(|i| found.get(i)).collect()
}
