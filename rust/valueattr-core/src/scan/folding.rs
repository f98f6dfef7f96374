//! Words as they are compared: lower case, plain apostrophes.

use super::characters::fold;

pub const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// Turns upper case into lower, and leaves digits and the apostrophe as they are.
pub const LOWER: u64 = 0x2020_2020_2020_2020;

/// Odd, and near 2^64 divided by the golden ratio.
pub const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Key of a word that is in no lexicon.
pub const NEVER: u64 = 0;

/// The first eight bytes (fewer in a shorter word) of the folded word `text[start..end]`, the first of them lowest.
/// [`NEVER`] if it holds a letter beyond ASCII, which `ascii_lexicon` says no word to compare with does.
#[inline(always)]
pub fn key(text: &str, start: usize, end: usize, ascii_lexicon: bool) -> u64 {
    let bytes = text.as_bytes();
    let raw = match bytes[start..].first_chunk() {
        Some(&eight) => u64::from_le_bytes(eight),
        None => up_to_eight(&bytes[start..]),
    };
    let counting = u64::MAX >> 64usize.saturating_sub(8 * (end - start));
    if raw & counting & HIGH_BITS == 0 {
        (raw | LOWER) & counting
    } else {
        key_beyond_ascii(&text[start..end], ascii_lexicon)
    }
}

#[inline(never)]
fn key_beyond_ascii(word: &str, ascii_lexicon: bool) -> u64 {
    // Only these begin an apostrophe, the one character beyond ASCII that folds into it.
    let first = word.bytes().find(|byte| !byte.is_ascii());
    if ascii_lexicon && !matches!(first, Some(0xCA | 0xE2 | 0xEF)) {
        return NEVER;
    }
    let mut folded = [0; 8];
    let mut filled = 0;
    for c in word.chars().map(fold) {
        let mut bytes = [0; 4];
        for &byte in c.encode_utf8(&mut bytes).as_bytes() {
            folded[filled] = byte;
            filled += 1;
            if filled == 8 {
                return u64::from_le_bytes(folded);
            }
        }
    }
    u64::from_le_bytes(folded)
}

fn up_to_eight(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let n = bytes.len().min(8);
    eight[..n].copy_from_slice(&bytes[..n]);
    u64::from_le_bytes(eight)
}

/// Hash of a key; its high bits are mixed best.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)]
pub fn hash(key: u64) -> u32 {
    (key.wrapping_mul(MULTIPLIER) >> 32) as u32
}

/// Whether a word of a text folds to `folded`.
#[inline]
pub fn is_same(word: &str, folded: &str) -> bool {
    if word.is_ascii() {
        word.eq_ignore_ascii_case(folded)
    } else {
        word.chars().map(fold).eq(folded.chars())
    }
}

/// The folded word.
pub fn folded(word: &str) -> String {
    word.chars().map(fold).collect()
}
