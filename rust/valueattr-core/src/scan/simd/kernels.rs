//! What the scanner asks of a set of instructions, and what does not depend on the set.
//!
//! A [`Kernels`] type is a token: holding one proves that the machine has its instructions. A loop that is written once
//! for all of them is a [`Routine`]; it is compiled anew for each token, with that token's instructions switched on.

use crate::scan::prefilter::Prefilter;

/// Bytes in a block.
pub const BLOCK: usize = 64;

/// Bit `i` stands for byte `i`; every byte of a character is in the character's classes, but that a terminator is one
/// at its last byte only and closes at the others, so that what follows a terminator is the next bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Masks {
    pub word: u64,
    pub apostrophe: u64,
    /// White space, newlines among it.
    pub space: u64,
    pub newline: u64,
    pub terminator: u64,
    pub closer: u64,
}

/// What is written anew for each set of instructions. [`Portable`](super::portable::Portable) says in plain Rust what
/// each method gives.
pub trait Kernels: Copy {
    /// The classes of 64 ASCII bytes. Bytes above 127 come as words, with the mask of them beside.
    fn ascii(self, block: &[u8; BLOCK]) -> (Masks, u64);

    /// Of the bytes above 127, which have a mask, those that may begin a character that is no part of a word.
    fn marks(self, block: &[u8; BLOCK], high: u64) -> u64;

    /// Writes `base` plus the place of each bit. What it writes behind them means nothing.
    fn places(self, bits: u64, base: u32, out: &mut [u32; BLOCK]);

    /// Hashes of the words that begin and end at these bytes of the text.
    fn hashes(self, text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]);

    /// Which of the first 63 words the filter may let pass, by a word's hash and the next. What it lets pass is for
    /// [`Prefilter::lets_pass`] to confirm.
    fn passing(self, filter: &Prefilter, hashes: &[u32; BLOCK]) -> u64;
}

/// A loop over kernels. Its `run` must be inlined always, or the kernels are called from code that is compiled without
/// their instructions.
pub trait Routine {
    type Output;

    fn run<K: Kernels>(self, kernels: K) -> Self::Output;
}

pub const WORD: u8 = 1;
pub const APOSTROPHE: u8 = 2;
pub const SPACE: u8 = 4;
pub const NEWLINE: u8 = 8;
pub const TERMINATOR: u8 = 16;
pub const CLOSER: u8 = 32;
/// The first byte of a character beyond ASCII that may be no part of a word.
pub const MARK: u8 = 64;
/// A byte above 127: what it is depends on the character that it is part of.
pub const HIGH: u8 = 128;

/// The classes of each byte.
pub static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let class = classes_of(byte as u8);
        classes[byte] = class;
        byte += 1;
    }
    classes
};

const fn classes_of(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => WORD,
        b'\'' => APOSTROPHE | CLOSER,
        b'\n' => SPACE | NEWLINE,
        b'\t'..=b'\r' | b' ' => SPACE,
        b'.' | b'!' | b'?' => TERMINATOR,
        b'"' | b')' | b']' | b'*' | b'_' => CLOSER,
        // Others begin letters only, and 0xC3 all but the signs of multiplication and division.
        0xC2 | 0xC3 | 0xCA | 0xE1..=0xE3 | 0xEF | 0xF0 => HIGH | MARK,
        128.. => HIGH,
        _ => 0,
    }
}
