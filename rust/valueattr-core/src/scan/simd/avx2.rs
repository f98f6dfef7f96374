//! AVX2: a class of characters is a union of products of low and high nibbles, found with two shuffles.
//!
//! The intrinsics stand in a function that names its instructions, because only so are they inlined into closures.

#[allow(clippy::wildcard_imports)] // more than a dozen intrinsics
use std::arch::x86_64::*;

use super::kernels::{
    APOSTROPHE, BLOCK, CLOSER, Kernels, Masks, NEWLINE, Routine, SPACE, TERMINATOR, WORD,
};
use super::portable::Portable;
use crate::scan::prefilter::Prefilter;

/// A machine with AVX2 and what came with it; [`Avx2::new`] alone makes one.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// `None` where the machine lacks an instruction that [`Avx2::run`] is compiled for.
    pub fn new() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Self(()))
    }

    /// Runs a routine, compiled for this machine.
    pub fn run<R: Routine>(self, routine: R) -> R::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn compiled<R: Routine>(kernels: Avx2, routine: R) -> R::Output {
            routine.run(kernels)
        }
        // SAFETY: `self` exists, so `Avx2::new` has found the instructions that `compiled` names.
        unsafe { compiled(self, routine) }
    }
}

impl Kernels for Avx2 {
    #[inline(always)]
    fn ascii(self, block: &[u8; BLOCK]) -> (Masks, u64) {
        // SAFETY: `self` exists, so `Avx2::new` has found AVX2.
        unsafe { classify(block) }
    }

    #[inline(always)]
    fn marks(self, block: &[u8; BLOCK], high: u64) -> u64 {
        Portable.marks(block, high)
    }

    #[inline(always)]
    fn places(self, bits: u64, base: u32, out: &mut [u32; BLOCK]) {
        Portable.places(bits, base, out);
    }

    #[inline(always)]
    fn hashes(self, text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]) {
        Portable.hashes(text, words, ascii_lexicon, out);
    }

    #[inline(always)]
    fn passing(self, filter: &Prefilter, hashes: &[u32; BLOCK]) -> u64 {
        Portable.passing(filter, hashes)
    }
}

/// Classes as products: `(class, low nibbles, high nibbles)`.
const PRODUCTS: [(u8, u16, u16); 11] = [
    (WORD, 0b0000_0011_1111_1111, 1 << 3),          // 0-9
    (WORD, 0b1111_1111_1111_1110, 1 << 4 | 1 << 6), // A-O, a-o
    (WORD, 0b0000_0111_1111_1111, 1 << 5 | 1 << 7), // P-Z, p-z
    (SPACE, 0b0011_1110_0000_0000, 1),              // \t to \r
    (SPACE, 1, 1 << 2),
    (TERMINATOR, 1 << 1 | 1 << 14, 1 << 2), // ! .
    (TERMINATOR, 1 << 15, 1 << 3),          // ?
    (CLOSER, 1 << 2 | 1 << 7 | 1 << 9 | 1 << 10, 1 << 2), // " ' ) *
    (CLOSER, 1 << 13 | 1 << 15, 1 << 5),    // ] _
    (APOSTROPHE, 1 << 7, 1 << 2),
    (NEWLINE, 1 << 10, 1),
];

/// A table of sixteen nibbles, twice: once for each half of a vector.
type Nibbles = [u8; 32];

static FIRST: (Nibbles, Nibbles) = nibbles(0, 5);
static SECOND: (Nibbles, Nibbles) = nibbles(5, 9);

/// The tables of low and high nibbles of the products `from..to`, one bit a product.
const fn nibbles(from: usize, to: usize) -> (Nibbles, Nibbles) {
    let (mut low, mut high) = ([0; 32], [0; 32]);
    let mut product = from;
    while product < to {
        let mut i = 0;
        while i < 32 {
            if PRODUCTS[product].1 >> (i % 16) & 1 == 1 {
                low[i] |= 1 << (product - from);
            }
            if PRODUCTS[product].2 >> (i % 16) & 1 == 1 {
                high[i] |= 1 << (product - from);
            }
            i += 1;
        }
        product += 1;
    }
    (low, high)
}

/// Does what [`Kernels::ascii`] says.
#[inline]
#[target_feature(enable = "avx2")]
fn classify(block: &[u8; BLOCK]) -> (Masks, u64) {
    let [first, second] = block.as_chunks().0 else {
        return (Masks::default(), 0);
    };
    let ((a, a_high), (b, b_high)) = (classify_half(first), classify_half(second));
    let masks = Masks {
        word: a.word | b.word << 32,
        apostrophe: a.apostrophe | b.apostrophe << 32,
        space: a.space | b.space << 32,
        newline: a.newline | b.newline << 32,
        terminator: a.terminator | b.terminator << 32,
        closer: a.closer | b.closer << 32,
    };
    (masks, a_high | b_high << 32)
}

#[inline]
#[target_feature(enable = "avx2")]
fn classify_half(half: &[u8; 32]) -> (Masks, u64) {
    let bytes = load(half);
    let high_nibble = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    // A byte above 127 has its top bit set, for which the shuffle gives nothing.
    let look = |(low, high): &(Nibbles, Nibbles)| {
        _mm256_and_si256(
            _mm256_shuffle_epi8(load(low), bytes),
            _mm256_shuffle_epi8(load(high), high_nibble),
        )
    };
    let mask = |found, bits: i8| {
        let none = _mm256_cmpeq_epi8(
            _mm256_and_si256(found, _mm256_set1_epi8(bits)),
            _mm256_setzero_si256(),
        );
        to_integer(!_mm256_movemask_epi8(none))
    };
    let is = |byte: u8| {
        let equal = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
        to_integer(_mm256_movemask_epi8(equal))
    };
    let (first, second) = (look(&FIRST), look(&SECOND));
    let high = to_integer(_mm256_movemask_epi8(bytes));
    let masks = Masks {
        word: mask(first, 0b0_0111) | high,
        apostrophe: is(b'\''),
        space: mask(first, 0b1_1000),
        newline: is(b'\n'),
        terminator: mask(second, 0b0011),
        closer: mask(second, 0b1100),
    };
    (masks, high)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: it reads the 32 bytes of the array, which need not be aligned.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// A mask of 32 bytes, out of the compiler's sight: of two it would make a vector of 64 bits, which it then takes apart
/// byte by byte.
#[inline(always)]
fn to_integer(mask: i32) -> u64 {
    u64::from(std::hint::black_box(mask).cast_unsigned())
}
