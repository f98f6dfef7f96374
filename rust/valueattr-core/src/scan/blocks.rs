//! Sixty-four bytes of text at a time, as one bit mask per class of character.

use super::characters::{closes, ends_sentence, is_apostrophe, is_space, is_word};
use super::filter::Filter;
use super::folding::{hash, key};

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

const WORD: u8 = 1;
const APOSTROPHE: u8 = 2;
const SPACE: u8 = 4;
const NEWLINE: u8 = 8;
const TERMINATOR: u8 = 16;
const CLOSER: u8 = 32;
/// Of the first byte of a character beyond ASCII that may be no part of a word.
const MARK: u8 = 64;
/// Of a byte above 127: what it is depends on the character that it is part of.
const HIGH: u8 = 128;

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

static CLASSES: [u8; 256] = {
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

/// What is written anew for the instructions of a machine.
pub trait Kernels {
    /// The classes of 64 ASCII bytes; bytes above 127 come as words, with the mask of them beside.
    fn ascii(block: &[u8; BLOCK]) -> (Masks, u64);

    /// Of the bytes above 127, which have a mask, those that may begin a character that is no part of a word.
    #[inline(always)]
    fn marks(block: &[u8; BLOCK], high: u64) -> u64 {
        let (mut marks, mut rest) = (0, high);
        while rest != 0 {
            let within = rest.trailing_zeros();
            marks |= u64::from(CLASSES[block[within as usize] as usize] & MARK != 0) << within;
            rest &= rest - 1;
        }
        marks
    }

    /// Writes `base` plus the place of each bit, and behind them whatever.
    #[inline(always)]
    fn places(bits: u64, base: u32, out: &mut [u32; BLOCK]) {
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

    /// Hashes of the words that begin and end at these bytes of the text.
    #[inline(always)]
    fn hashes(text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]) {
        for (out, &[start, end]) in out.iter_mut().zip(words) {
            *out = hash(key(text, start as usize, end as usize, ascii_lexicon));
        }
    }

    /// Which of the first 63 words the filter may let pass, by its hash and the next.
    #[inline(always)]
    fn passing(filter: &Filter, hashes: &[u32; BLOCK]) -> u64 {
        let mut passing = 0;
        for (i, pair) in hashes.windows(2).enumerate() {
            passing |= u64::from(filter.lets_pass(pair[0], pair[1])) << i;
        }
        passing
    }
}

/// Any machine.
pub struct Portable;

impl Kernels for Portable {
    #[inline(always)]
    fn ascii(block: &[u8; BLOCK]) -> (Masks, u64) {
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
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    //! `unsafe` here: intrinsics need their instructions, which `words` asks the machine for before
    //! it takes one of these types; the loads read the 64 bytes that the array has. Both are compared with
    //! [`Portable`] on every byte in every place, and run under the property tests of the whole scanner. Masked loads
    //! do not touch what their masks leave out, and prefetching any address is allowed.

    #[allow(clippy::wildcard_imports)] // three dozen intrinsics
    use std::arch::x86_64::*;

    use super::super::folding::{HIGH_BITS, LOWER, MULTIPLIER};
    use super::{
        APOSTROPHE, BLOCK, CLASSES, CLOSER, Filter, Kernels, MARK, Masks, NEWLINE, SPACE,
        TERMINATOR, WORD,
    };

    #[cfg(test)]
    thread_local! {
        /// Lets tests run what lesser machines would: 0 is [`super::Portable`], 1 [`Avx2`].
        pub static LIMIT: std::cell::Cell<u8> = const { std::cell::Cell::new(2) };
    }

    /// Whether this machine has what functions for [`Avx2`] are compiled for.
    pub fn has_avx2() -> bool {
        #[cfg(test)]
        if LIMIT.get() < 1 {
            return false;
        }
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }

    /// Whether this machine has what functions for [`Avx512`] are compiled for.
    pub fn has_avx512() -> bool {
        #[cfg(test)]
        if LIMIT.get() < 2 {
            return false;
        }
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2")
    }

    /// AVX2. A class is a union of products of low and high nibbles, found with two shuffles.
    pub struct Avx2;

    /// AVX-512 with VBMI: one look-up of 128 bytes.
    pub struct Avx512;

    /// Bits of the two nibble tables: `(classes, low nibbles, high nibbles)`.
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

    /// The nibble tables of the products in `range`, one bit a product, each table twice for the two halves.
    const fn nibbles(from: usize, to: usize) -> ([u8; 32], [u8; 32]) {
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

    static FIRST: ([u8; 32], [u8; 32]) = nibbles(0, 5);
    static SECOND: ([u8; 32], [u8; 32]) = nibbles(5, 9);

    impl Kernels for Avx2 {
        #[inline(always)]
        fn ascii(block: &[u8; BLOCK]) -> (Masks, u64) {
            unsafe { classify(block) }
        }
    }

    // Functions that name their instructions: only so are intrinsics inlined into closures.

    /// A mask of 32 bytes, out of the compiler's sight: of two it would make a vector of 64 bits, which it then takes
    /// apart byte by byte.
    #[inline(always)]
    fn to_integer(mask: i32) -> u64 {
        u64::from(std::hint::black_box(mask).cast_unsigned())
    }

    /// As [`Kernels::ascii`].
    #[inline]
    #[target_feature(enable = "avx2")]
    fn classify(block: &[u8; BLOCK]) -> (Masks, u64) {
        let half = |at: usize| {
            let load = |table: &[u8; 32]| unsafe { _mm256_loadu_si256(table.as_ptr().cast()) };
            let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(at).cast()) };
            let high_nibble = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
            // A byte above 127 has its top bit set, for which the shuffle gives nothing.
            let look = |(low, high): &([u8; 32], [u8; 32])| {
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
        };
        let ((a, a_high), (b, b_high)) = (half(0), half(32));
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

    impl Kernels for Avx512 {
        #[inline(always)]
        fn ascii(block: &[u8; BLOCK]) -> (Masks, u64) {
            unsafe {
                let bytes = _mm512_loadu_si512(block.as_ptr().cast());
                // The machine itself looks ahead within a page only, and texts are short.
                _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(1024).cast());
                let classes = _mm512_permutex2var_epi8(
                    _mm512_loadu_si512(CLASSES.as_ptr().cast()),
                    bytes,
                    _mm512_loadu_si512(CLASSES.as_ptr().add(64).cast()),
                );
                let high = _mm512_movepi8_mask(bytes);
                let of = |class: u8| {
                    _mm512_test_epi8_mask(classes, _mm512_set1_epi8(class.cast_signed())) & !high
                };
                let masks = Masks {
                    word: of(WORD) | high,
                    apostrophe: of(APOSTROPHE),
                    space: of(SPACE),
                    newline: of(NEWLINE),
                    terminator: of(TERMINATOR),
                    closer: of(CLOSER),
                };
                (masks, high)
            }
        }

        #[inline(always)]
        fn marks(block: &[u8; BLOCK], high: u64) -> u64 {
            unsafe {
                let classes = _mm512_permutex2var_epi8(
                    _mm512_loadu_si512(CLASSES.as_ptr().add(128).cast()),
                    _mm512_loadu_si512(block.as_ptr().cast()),
                    _mm512_loadu_si512(CLASSES.as_ptr().add(192).cast()),
                );
                _mm512_mask_test_epi8_mask(high, classes, _mm512_set1_epi8(MARK.cast_signed()))
            }
        }

        #[inline(always)]
        fn places(bits: u64, base: u32, out: &mut [u32; BLOCK]) {
            unsafe {
                let all = _mm512_loadu_si512(PLACES.as_ptr().cast());
                let places = _mm512_maskz_compress_epi8(bits, all);
                let base = _mm512_set1_epi32(base.cast_signed());
                let mut store = |at: usize, sixteen: __m128i| {
                    let places = _mm512_add_epi32(_mm512_cvtepu8_epi32(sixteen), base);
                    _mm512_storeu_si512(out[at..at + 16].as_mut_ptr().cast(), places);
                };
                store(0, _mm512_castsi512_si128(places));
                store(16, _mm512_extracti32x4_epi32::<1>(places));
                if bits.count_ones() > 32 {
                    store(32, _mm512_extracti32x4_epi32::<2>(places));
                    store(48, _mm512_extracti32x4_epi32::<3>(places));
                }
            }
        }

        #[inline(always)]
        fn hashes(text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]) {
            for (i, words) in words.chunks(EIGHT).enumerate() {
                let Some(out) = out[EIGHT * i..].first_chunk_mut() else {
                    return;
                };
                if !unsafe { eight_hashes(text.as_bytes(), words, ascii_lexicon, out) } {
                    Avx2::hashes(text, words, ascii_lexicon, out);
                }
            }
        }

        #[inline(always)]
        fn passing(filter: &Filter, hashes: &[u32; BLOCK]) -> u64 {
            unsafe { passing(filter, hashes) }
        }
    }

    /// As [`Kernels::passing`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn passing(filter: &Filter, hashes: &[u32; BLOCK]) -> u64 {
        let load = |at: usize| unsafe { _mm512_loadu_si512(hashes.as_ptr().add(at).cast()) };
        let bytes = |select: &[u8; 64]| {
            let select = unsafe { _mm512_loadu_si512(select.as_ptr().cast()) };
            (
                _mm512_permutex2var_epi8(load(0), select, load(16)),
                _mm512_permutex2var_epi8(load(32), select, load(48)),
            )
        };
        let (a, b) = bytes(&HIGH_BYTES);
        let (c, d) = bytes(&LOW_BYTES);
        let hashes = [
            _mm512_inserti64x4::<1>(a, _mm512_castsi512_si256(b)),
            _mm512_shuffle_i64x2::<0b1110_1110>(a, b),
            _mm512_inserti64x4::<1>(c, _mm512_castsi512_si256(d)),
        ];
        let sets = |tables: &[[u8; 128]; 3]| {
            let look = |i: usize| {
                let half =
                    |at: usize| unsafe { _mm512_loadu_si512(tables[i].as_ptr().add(at).cast()) };
                _mm512_permutex2var_epi8(half(0), hashes[i], half(64))
            };
            _mm512_and_si512(_mm512_and_si512(look(0), look(1)), look(2))
        };
        let all = unsafe { _mm512_loadu_si512(PLACES.as_ptr().cast()) };
        let next = _mm512_add_epi8(all, _mm512_set1_epi8(1));
        let seconds = _mm512_permutexvar_epi8(next, sets(&filter.seconds));
        _mm512_test_epi8_mask(sets(&filter.firsts), seconds)
    }

    /// Bytes 3 of 32 hashes, then bytes 2.
    static HIGH_BYTES: [u8; 64] = selected(3, 2);
    /// Bytes 1 of 32 hashes, then bytes 0.
    static LOW_BYTES: [u8; 64] = selected(1, 0);

    #[allow(clippy::cast_possible_truncation)] // below 128
    const fn selected(one: usize, other: usize) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut i = 0;
        while i < 32 {
            bytes[i] = (4 * i + one) as u8;
            bytes[32 + i] = (4 * i + other) as u8;
            i += 1;
        }
        bytes
    }

    /// Words at once.
    const EIGHT: usize = 8;

    /// As [`hash`] of [`key`] of at most eight words, if they stand in 128 bytes, and no byte beyond ASCII, or in words
    /// that the lexicon has none like no byte that may begin an apostrophe, is among those that count.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi")]
    fn eight_hashes(
        text: &[u8],
        words: &[[u32; 2]],
        ascii_lexicon: bool,
        out: &mut [u32; EIGHT],
    ) -> bool {
        let (first, last) = (words[0][0], words[words.len() - 1][0]);
        if last - first > 128 - 8 {
            return false;
        }
        let here = u8::MAX >> (EIGHT - words.len());
        let pairs = unsafe { _mm512_maskz_loadu_epi64(here, words.as_ptr().cast()) };
        let ends = _mm512_srli_epi64::<32>(pairs);
        let bits = _mm512_mul_epu32(_mm512_sub_epi32(ends, pairs), _mm512_set1_epi64(8));
        let beyond = _mm512_max_epi64(
            _mm512_sub_epi64(_mm512_set1_epi64(64), bits),
            _mm512_setzero_si512(),
        );
        let counting = _mm512_srlv_epi64(_mm512_set1_epi64(-1), beyond);
        // Of the places in 256 bytes only the lowest seven bits count.
        let places = _mm512_sub_epi8(
            _mm512_shuffle_epi8(pairs, _mm512_set4_epi32(0x0808_0808, 0x0808_0808, 0, 0)),
            _mm512_sub_epi8(
                _mm512_set1_epi8(first.to_le_bytes()[0].cast_signed()),
                _mm512_set1_epi64(0x0706_0504_0302_0100),
            ),
        );
        let rest = &text[first as usize..];
        let load = |at: usize| {
            let there = match rest.len().saturating_sub(at) {
                few @ ..BLOCK => (1 << few) - 1,
                _ => u64::MAX,
            };
            unsafe { _mm512_maskz_loadu_epi8(there, rest.as_ptr().wrapping_add(at).cast()) }
        };
        let raw = _mm512_permutex2var_epi8(load(0), places, load(64));
        let lower = _mm512_or_si512(raw, _mm512_set1_epi64(LOWER.cast_signed()));
        let mut keys = _mm512_and_si512(lower, counting);
        let high = _mm512_set1_epi64(HIGH_BITS.cast_signed());
        if _mm512_test_epi64_mask(raw, high) != 0 {
            let counting = _mm512_and_si512(raw, counting);
            let not_ascii = _mm512_test_epi64_mask(counting, high);
            if not_ascii != 0 && (!ascii_lexicon || begins_apostrophe(counting)) {
                return false;
            }
            keys = _mm512_maskz_mov_epi64(!not_ascii, keys);
        }
        let product = _mm512_mullo_epi64(keys, _mm512_set1_epi64(MULTIPLIER.cast_signed()));
        let odd = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 15, 13, 11, 9, 7, 5, 3, 1);
        let hashes = _mm512_castsi512_si256(_mm512_permutexvar_epi32(odd, product));
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), hashes) };
        true
    }

    /// Whether there is a first byte of an apostrophe beyond ASCII, or of another character with the same.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn begins_apostrophe(bytes: __m512i) -> bool {
        let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
        is(0xCA) | is(0xE2) | is(0xEF) != 0
    }

    static PLACES: [u8; BLOCK] = {
        let mut places = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            #[allow(clippy::cast_possible_truncation)] // below 64
            let place = at as u8;
            places[at] = place;
            at += 1;
        }
        places
    };
}

/// Calls `$kernel`, a method that is generic over [`Kernels`], compiled for the best instructions that this machine has.
macro_rules! on_this_machine {
    ($name:ident: fn($($arg:ident: $kind:ty),*) -> $out:ty = $kernel:ident) => {
        pub fn $name($($arg: $kind),*) -> $out {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::scan::blocks::x86::{Avx2, Avx512, has_avx2, has_avx512};
                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
                fn avx512($($arg: $kind),*) -> $out {
                    $kernel::<Avx512>($($arg),*)
                }
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
                fn avx2($($arg: $kind),*) -> $out {
                    $kernel::<Avx2>($($arg),*)
                }
                // SAFETY: each is called on a machine that says it has the instructions.
                if has_avx512() {
                    return unsafe { avx512($($arg),*) };
                }
                if has_avx2() {
                    return unsafe { avx2($($arg),*) };
                }
            }
            $kernel::<$crate::scan::blocks::Portable>($($arg),*)
        }
    };
}
pub(super) use on_this_machine;

/// Asks for the beginning of a text that is scanned soon.
pub fn prefetch(text: &str) {
    #[cfg(target_arch = "x86_64")]
    for line in text.as_bytes().chunks(BLOCK).take(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// The masks of the block of `text` that begins at byte `base`; beyond the end there is nothing of any class. With
/// the mask of bytes above 127.
#[inline(always)]
pub fn masks<C: Kernels>(text: &str, base: usize) -> (Masks, u64) {
    let bytes = &text.as_bytes()[base..];
    if let Some(block) = bytes.first_chunk() {
        return masks_of::<C>(text, base, block);
    }
    let mut padded = [0; BLOCK];
    padded[..bytes.len()].copy_from_slice(bytes);
    masks_of::<C>(text, base, &padded)
}

#[inline(always)]
fn masks_of<C: Kernels>(text: &str, base: usize, block: &[u8; BLOCK]) -> (Masks, u64) {
    let (mut masks, high) = C::ascii(block);
    if high != 0 {
        reclassify(text, base, C::marks(block, high), &mut masks);
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

#[cfg(test)]
pub fn assert_all_agree(block: &[u8; BLOCK]) {
    let plain = Portable::ascii(block);
    for (i, &byte) in block.iter().enumerate() {
        let c = char::from(byte);
        let is = |mask: u64| mask >> i & 1 == 1;
        if byte >= 128 {
            assert!(is(plain.0.word) && is(plain.1));
            continue;
        }
        assert!(!is(plain.1));
        assert_eq!(is(plain.0.word), is_word(c), "{c:?}");
        assert_eq!(is(plain.0.space), is_space(c), "{c:?}");
        assert_eq!(is(plain.0.apostrophe), is_apostrophe(c), "{c:?}");
        assert_eq!(is(plain.0.terminator), ends_sentence(c), "{c:?}");
        assert_eq!(is(plain.0.closer), closes(c), "{c:?}");
        assert_eq!(is(plain.0.newline), c == '\n', "{c:?}");
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2(block: &[u8; BLOCK]) -> (Masks, u64) {
            x86::Avx2::ascii(block)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        fn avx512(block: &[u8; BLOCK]) -> (Masks, u64) {
            x86::Avx512::ascii(block)
        }
        // SAFETY: each is called on a machine that says it has the instructions.
        if x86::has_avx2() {
            assert_eq!(plain, unsafe { avx2(block) });
        }
        if x86::has_avx512() {
            assert_eq!(plain, unsafe { avx512(block) });
        }
    }
}
