//! Words of a text with which a wording may begin: the filter lets one in twenty or so pass.
//!
//! A candidate may come to nothing; a word that is none begins no wording.

use super::folding::{NEVER, hash};
use super::index::within_text;
use super::prefilter::Prefilter;
use super::simd::{BLOCK, Kernels, Routine, dispatch};
use super::words::Words;

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

    /// Hashes of all words; what stands behind them is left from other texts.
    pub fn hashes(&self) -> &[u32] {
        &self.hashes
    }

    pub fn hash(&self, word: usize) -> u32 {
        self.hashes[word]
    }
}

/// Finds the candidates among the words `from..to` and, to know what follows them, looks at all behind them.
pub struct Find<'a> {
    pub filter: &'a Prefilter,
    /// Whether no word of the lexicon has a letter beyond ASCII.
    pub ascii_lexicon: bool,
    pub text: &'a str,
    pub words: &'a Words,
    pub from: usize,
    pub to: usize,
    pub out: &'a mut Candidates,
}

impl Find<'_> {
    pub fn now(self) {
        dispatch(self);
    }
}

impl Routine for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) {
        let Self {
            filter,
            ascii_lexicon,
            text,
            words,
            from,
            to,
            out,
        } = self;
        let pairs = &words.pairs()[from..];
        let room = words.len() + BLOCK;
        if out.hashes.len() < room {
            out.hashes.resize(2 * room, 0);
            out.found.resize(2 * room, 0);
        }
        let hashes = &mut out.hashes[from..];
        kernels.hashes(text, pairs, ascii_lexicon, hashes);
        hashes[pairs.len()] = hash(NEVER);

        let found = out.found.as_mut_slice();
        let mut filled = 0;
        for at in (0..to - from).step_by(BLOCK - 1) {
            if let Some(hashes) = hashes[at..].first_chunk()
                && let Some(found) = found[filled..].first_chunk_mut()
            {
                let here = u64::MAX >> (BLOCK - (to - from - at).min(BLOCK - 1));
                let passing = kernels.passing(filter, hashes) & here;
                kernels.places(passing, within_text(from + at), found);
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
}
