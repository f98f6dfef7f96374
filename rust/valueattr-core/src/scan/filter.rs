//! Which words of a text a wording may begin with, by the hashes of a word and the next.

use super::blocks::{BLOCK, Kernels, on_this_machine};
use super::folding::{NEVER, hash};
use super::trie::id;
use super::words::Words;

/// Says of two words in a row whether a wording may begin with them. It never stops a wording.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Wordings are in eight sets, one a bit. A word may be the first of a wording in the sets that all three tables
    /// have at a byte of its hash, the highest byte first; vector registers hold these tables.
    pub firsts: [[u8; 128]; 3],
    /// The same of second words.
    pub seconds: [[u8; 128]; 3],
    /// A larger set, of the hashes of both words.
    pairs: Box<[u64; PAIRS]>,
    /// Of the hashes of first words that may stand alone or before any.
    alone: Box<[u64; ALONE]>,
}

const ALONE: usize = 1 << 8;
const PAIRS: usize = 1 << 10;

/// The sets of wordings that any word may follow.
const SETS_ALONE: u8 = 0b1100_0000;

impl Filter {
    #[allow(clippy::large_stack_arrays)] // once a lexicon
    pub fn new() -> Self {
        Self {
            firsts: [[0; 128]; 3],
            seconds: [[SETS_ALONE; 128]; 3],
            pairs: Box::new([0; PAIRS]),
            alone: Box::new([0; ALONE]),
        }
    }

    pub fn insert(&mut self, first: u32, second: Option<u32>) {
        let add = |tables: &mut [[u8; 128]; 3], hash: u32, set: u8| {
            for (table, byte) in tables.iter_mut().zip(hash.to_be_bytes()) {
                table[usize::from(byte & 127)] |= set;
            }
        };
        let highest = first >> 24;
        let (pair, alone) = Self::places(first, second.unwrap_or_default());
        if let Some(second) = second {
            let set = 1 << (highest % 6);
            add(&mut self.firsts, first, set);
            add(&mut self.seconds, second, set);
            self.pairs[pair.0] |= 1 << pair.1;
        } else {
            add(&mut self.firsts, first, 1 << (6 + highest % 2));
            self.alone[alone.0] |= 1 << alone.1;
        }
    }

    /// By the larger sets.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool)] // a branch would go wrong often
    pub fn lets_pass(&self, first: u32, second: u32) -> bool {
        let (pair, alone) = Self::places(first, second);
        (self.pairs[pair.0] >> pair.1 & 1 == 1) | (self.alone[alone.0] >> alone.1 & 1 == 1)
    }

    /// Index and bit in `pairs` and `alone`.
    #[inline(always)]
    fn places(first: u32, second: u32) -> ((usize, u32), (usize, u32)) {
        let both = (first.rotate_left(16) ^ second).wrapping_mul(0x9E37_79B1);
        let pair = ((both >> 22) as usize, both >> 16 & 63);
        let alone = ((first >> 24) as usize, first >> 18 & 63);
        (pair, alone)
    }
}

/// Words of a text by hash, and those of them with which a wording may begin.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    hashes: Vec<u32>,
    found: Vec<u32>,
    kept: usize,
}

impl Candidates {
    pub fn found(&self) -> &[u32] {
        &self.found[..self.kept]
    }

    pub fn hash(&self, word: usize) -> u32 {
        self.hashes[word]
    }
}

on_this_machine!(find_candidates: fn(filter: &Filter, ascii_lexicon: bool, text: &str, words: &Words, from: usize, to: usize, out: &mut Candidates) -> () = find);

/// Looks at the words `from..to` and, to know what follows them, at all behind them.
#[inline(always)]
fn find<C: Kernels>(
    filter: &Filter,
    ascii_lexicon: bool,
    text: &str,
    words: &Words,
    from: usize,
    to: usize,
    out: &mut Candidates,
) {
    let pairs = &words.pairs()[from..];
    let room = words.len() + BLOCK;
    if out.hashes.len() < room {
        out.hashes.resize(2 * room, 0);
        out.found.resize(2 * room, 0);
    }
    let hashes = &mut out.hashes[from..];
    C::hashes(text, pairs, ascii_lexicon, hashes);
    hashes[pairs.len()] = hash(NEVER);

    let found = out.found.as_mut_slice();
    let mut filled = 0;
    for at in (0..to - from).step_by(BLOCK - 1) {
        if let Some(hashes) = hashes[at..].first_chunk()
            && let Some(found) = found[filled..].first_chunk_mut()
        {
            let here = u64::MAX >> (BLOCK - (to - from - at).min(BLOCK - 1));
            let passing = C::passing(filter, hashes) & here;
            C::places(passing, id(from + at), found);
            filled += passing.count_ones() as usize;
        }
    }
    // What the kernels let pass is for the larger sets to say.
    let mut kept = 0;
    for i in 0..filled {
        let word = found[i];
        let at = word as usize - from;
        found[kept] = word;
        kept += usize::from(filter.lets_pass(hashes[at], hashes[at + 1]));
    }
    out.kept = kept;
}
