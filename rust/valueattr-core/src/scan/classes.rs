//! Sixty-four bytes of text at a time, as one bit mask per class of character.
//!
//! ASCII is classified by the kernels, whatever its bytes. Characters beyond it are words, unless their first byte marks
//! them as ones to look at; those are rare, and are put into their classes one by one.

use super::characters::{closes, ends_sentence, is_apostrophe, is_space, is_word};
use super::simd::{BLOCK, Kernels, Masks};

/// The masks of the block of `text` that begins at byte `base`; beyond the end there is nothing of any class. With
/// the mask of bytes above 127.
#[inline(always)]
pub fn masks<K: Kernels>(kernels: K, text: &str, base: usize) -> (Masks, u64) {
    let bytes = &text.as_bytes()[base..];
    if let Some(block) = bytes.first_chunk() {
        return masks_of(kernels, text, base, block);
    }
    let mut padded = [0; BLOCK];
    padded[..bytes.len()].copy_from_slice(bytes);
    masks_of(kernels, text, base, &padded)
}

#[inline(always)]
fn masks_of<K: Kernels>(kernels: K, text: &str, base: usize, block: &[u8; BLOCK]) -> (Masks, u64) {
    let (mut masks, high) = kernels.ascii(block);
    if high != 0 {
        reclassify(text, base, kernels.marks(block, high), &mut masks);
    }
    (masks, high)
}

/// Puts the characters beyond ASCII that are no parts of words into their classes; they begin at some of
/// `first_bytes`.
#[cold]
fn reclassify(text: &str, base: usize, first_bytes: u64, masks: &mut Masks) {
    let bytes = text.as_bytes();
    let mut begin = base;
    while bytes[begin] & 0xC0 == 0x80 {
        begin -= 1; // a character that began in the block before
    }
    if begin < base {
        reclassify_character(text, begin, base, masks);
    }
    let mut rest = first_bytes;
    while rest != 0 {
        let at = base + rest.trailing_zeros() as usize;
        if bytes[at] != 0xC3 || matches!(bytes[at + 1], 0x97 | 0xB7) {
            reclassify_character(text, at, base, masks);
        }
        rest &= rest - 1;
    }
}

#[inline]
fn reclassify_character(text: &str, at: usize, base: usize, masks: &mut Masks) {
    let Some(c) = text[at..].chars().next() else {
        return;
    };
    if is_word(c) {
        return;
    }
    let (from, to) = (
        at.max(base) - base,
        (at + c.len_utf8()).min(base + BLOCK) - base,
    );
    let bits = u64::MAX >> (BLOCK - (to - from)) << from;
    if is_apostrophe(c) && within_word(text, at, c) {
        return;
    }
    masks.word &= !bits;
    if is_space(c) {
        masks.space |= bits;
    } else if ends_sentence(c) {
        let last = at + c.len_utf8() - 1;
        if last < base + BLOCK {
            masks.terminator |= 1 << (last - base);
        }
        masks.closer |= bits & !masks.terminator;
    } else if closes(c) {
        masks.closer |= bits;
    }
}

fn within_word(text: &str, at: usize, apostrophe: char) -> bool {
    text[..at].ends_with(is_word) && text[at + apostrophe.len_utf8()..].starts_with(is_word)
}
