//! Says which words of a text a wording may begin with, by the hashes of a word and the next.
//!
//! It may let a pair pass that begins no wording (about one in twenty words passes), and never stops one that does.

/// Says of two words in a row whether a wording may begin with them. It never stops a wording.
#[derive(Debug, Clone)]
pub struct Prefilter {
    /// Wordings are in eight sets, one a bit. A word may be the first of a wording in the sets that all three tables
    /// have at a byte of its hash, the highest byte first; vector registers hold these tables.
    pub firsts: [[u8; 128]; 3],
    /// The same for second words.
    pub seconds: [[u8; 128]; 3],
    /// A larger set, of the hashes of both words.
    pairs: Box<[u64; PAIRS]>,
    /// The hashes of first words that may stand alone or before any word.
    alone: Box<[u64; ALONE]>,
}

const ALONE: usize = 1 << 8;
const PAIRS: usize = 1 << 10;

/// The sets of wordings that any word may follow.
const SETS_ALONE: u8 = 0b1100_0000;

impl Prefilter {
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

    /// Says whether a wording may begin with the two words, by the larger sets.
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
