//! The kernels in plain Rust: for machines without the vectors of the other files, and the twin that these are tested
//! against.

use super::kernels::{BLOCK, CLASSES, Kernels, MARK, Masks};
use crate::scan::folding::{hash, key};
use crate::scan::prefilter::Prefilter;

/// Any machine.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

impl Kernels for Portable {
    #[inline(always)]
    fn ascii(self, block: &[u8; BLOCK]) -> (Masks, u64) {
        let mut of = [0u64; 8];
        for (i, bytes) in block.chunks_exact(8).enumerate() {
            let classes = u64::from_le_bytes(std::array::from_fn(|k| CLASSES[bytes[k] as usize]));
            for (bit, mask) in of.iter_mut().enumerate() {
                // The product moves the lowest bits of eight bytes into one byte.
                let eight = (classes >> bit & 0x0101_0101_0101_0101)
                    .wrapping_mul(0x0102_0408_1020_4080)
                    >> 56;
                *mask |= eight << (8 * i);
            }
        }
        let [
            word,
            apostrophe,
            space,
            newline,
            terminator,
            closer,
            _,
            high,
        ] = of;
        let masks = Masks {
            word: word | high,
            apostrophe,
            space,
            newline,
            terminator,
            closer,
        };
        (masks, high)
    }

    #[inline(always)]
    fn marks(self, block: &[u8; BLOCK], high: u64) -> u64 {
        let (mut marks, mut rest) = (0, high);
        while rest != 0 {
            let within = rest.trailing_zeros();
            marks |= u64::from(CLASSES[block[within as usize] as usize] & MARK != 0) << within;
            rest &= rest - 1;
        }
        marks
    }

    #[inline(always)]
    fn places(self, bits: u64, base: u32, out: &mut [u32; BLOCK]) {
        let mut rest = bits;
        let mut at = 0;
        // Written whether there are so many or not: fewer branches go wrong.
        while at < 16 || rest != 0 && at < BLOCK {
            for slot in &mut out[at..at + 8] {
                *slot = base.wrapping_add(rest.trailing_zeros());
                rest &= rest.wrapping_sub(1);
            }
            at += 8;
        }
    }

    #[inline(always)]
    fn hashes(self, text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]) {
        for (out, &[start, end]) in out.iter_mut().zip(words) {
            *out = hash(key(text, start as usize, end as usize, ascii_lexicon));
        }
    }

    #[inline(always)]
    fn passing(self, filter: &Prefilter, hashes: &[u32; BLOCK]) -> u64 {
        let mut passing = 0;
        for (i, pair) in hashes.windows(2).enumerate() {
            passing |= u64::from(filter.lets_pass(pair[0], pair[1])) << i;
        }
        passing
    }
}
