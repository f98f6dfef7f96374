//! AVX-512 with VBMI: the classes of 64 bytes are one look-up in a table of 128, and eight words are hashed at once.
//!
//! The intrinsics stand in functions that name their instructions, because only so are they inlined into closures.

#[allow(clippy::wildcard_imports)] // three dozen intrinsics
use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::kernels::{
    APOSTROPHE, BLOCK, CLASSES, CLOSER, Kernels, MARK, Masks, NEWLINE, Routine, SPACE, TERMINATOR,
    WORD,
};
use super::portable::Portable;
use crate::scan::folding::{HIGH_BITS, LOWER, MULTIPLIER};
use crate::scan::prefilter::Prefilter;

/// A machine with AVX-512 as Ice Lake and Zen 4 have it; [`Avx512::new`] alone makes one.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// `None` where the machine lacks an instruction that [`Avx512::run`] is compiled for.
    pub fn new() -> Option<Self> {
        let found = Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2");
        found.then_some(Self(()))
    }

    /// Runs a routine, compiled for this machine.
    pub fn run<R: Routine>(self, routine: R) -> R::Output {
        #[target_feature(
            enable = "avx2,avx512f,avx512bw,avx512dq,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
        )]
        fn compiled<R: Routine>(kernels: Avx512, routine: R) -> R::Output {
            routine.run(kernels)
        }
        // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `compiled` names.
        unsafe { compiled(self, routine) }
    }
}

impl Kernels for Avx512 {
    #[inline(always)]
    fn ascii(self, block: &[u8; BLOCK]) -> (Masks, u64) {
        // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `classify` names.
        unsafe { classify(block) }
    }

    #[inline(always)]
    fn marks(self, block: &[u8; BLOCK], high: u64) -> u64 {
        // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `marks` names.
        unsafe { marks(block, high) }
    }

    #[inline(always)]
    fn places(self, bits: u64, base: u32, out: &mut [u32; BLOCK]) {
        // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `places` names.
        unsafe { places(bits, base, out) }
    }

    #[inline(always)]
    fn hashes(self, text: &str, words: &[[u32; 2]], ascii_lexicon: bool, out: &mut [u32]) {
        for (i, words) in words.chunks(EIGHT).enumerate() {
            let Some(out) = out[EIGHT * i..].first_chunk_mut() else {
                return;
            };
            // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `eight_hashes` names.
            if !unsafe { eight_hashes(text.as_bytes(), words, ascii_lexicon, out) } {
                Portable.hashes(text, words, ascii_lexicon, out);
            }
        }
    }

    #[inline(always)]
    fn passing(self, filter: &Prefilter, hashes: &[u32; BLOCK]) -> u64 {
        // SAFETY: `self` exists, so `Avx512::new` has found the instructions that `passing` names.
        unsafe { passing(filter, hashes) }
    }
}

/// Does what [`Kernels::ascii`] says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn classify(block: &[u8; BLOCK]) -> (Masks, u64) {
    let bytes = load(block);
    // The machine itself looks ahead within a page only, and texts are short.
    prefetch(block.as_ptr().wrapping_add(1024));
    let classes = look_up(&CLASSES, 0, bytes);
    let high = _mm512_movepi8_mask(bytes);
    let of =
        |class: u8| _mm512_test_epi8_mask(classes, _mm512_set1_epi8(class.cast_signed())) & !high;
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

#[inline(always)]
fn prefetch(address: *const u8) {
    // SAFETY: prefetching is allowed at any address, and reads nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// Does what [`Kernels::marks`] says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn marks(block: &[u8; BLOCK], high: u64) -> u64 {
    let classes = look_up(&CLASSES, 128, load(block));
    _mm512_mask_test_epi8_mask(high, classes, _mm512_set1_epi8(MARK.cast_signed()))
}

/// Does what [`Kernels::places`] says.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi2")]
fn places(bits: u64, base: u32, out: &mut [u32; BLOCK]) {
    let places = _mm512_maskz_compress_epi8(bits, load(&PLACES));
    let base = _mm512_set1_epi32(base.cast_signed());
    let [first, second, third, fourth] = out.as_chunks_mut().0 else {
        return;
    };
    let store = |sixteen: __m128i, out: &mut [u32; 16]| {
        let places = _mm512_add_epi32(_mm512_cvtepu8_epi32(sixteen), base);
        // SAFETY: it writes the 64 bytes of the array, which need not be aligned.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), places) };
    };
    store(_mm512_castsi512_si128(places), first);
    store(_mm512_extracti32x4_epi32::<1>(places), second);
    if bits.count_ones() > 32 {
        store(_mm512_extracti32x4_epi32::<2>(places), third);
        store(_mm512_extracti32x4_epi32::<3>(places), fourth);
    }
}

/// Words at once.
const EIGHT: usize = 8;

/// Does what [`Kernels::hashes`] says for at most eight words, or returns false and leaves `out` of no use. It does so
/// when the words do not stand in 128 bytes, or when a byte beyond ASCII may fold into a word of the lexicon.
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
    // SAFETY: the mask has a bit for each of the one to eight words, which are eight bytes each; nothing else is read.
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
        // SAFETY: the mask has a bit for each byte of `rest` from `at` on, at most 64; nothing else is read.
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
    // SAFETY: it writes the 32 bytes of the array, which need not be aligned.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), hashes) };
    true
}

/// Whether there is a first byte of an apostrophe beyond ASCII, or of another character with the same.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn begins_apostrophe(bytes: __m512i) -> bool {
    let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
    is(0xCA) | is(0xE2) | is(0xEF) != 0
}

/// Does what [`Kernels::passing`] says, by the tables that vector registers hold. It may let more pass than
/// [`Prefilter::lets_pass`], and never less.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn passing(filter: &Prefilter, hashes: &[u32; BLOCK]) -> u64 {
    let sixteen = |at: usize| {
        let hashes = &hashes[at..at + 16];
        // SAFETY: it reads the sixteen hashes of the slice, which are 64 bytes and need not be aligned.
        unsafe { _mm512_loadu_si512(hashes.as_ptr().cast()) }
    };
    let bytes = |select: &[u8; BLOCK]| {
        let select = load(select);
        (
            _mm512_permutex2var_epi8(sixteen(0), select, sixteen(16)),
            _mm512_permutex2var_epi8(sixteen(32), select, sixteen(48)),
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
        let look = |i: usize| look_up(&tables[i], 0, hashes[i]);
        _mm512_and_si512(_mm512_and_si512(look(0), look(1)), look(2))
    };
    let next = _mm512_add_epi8(load(&PLACES), _mm512_set1_epi8(1));
    let seconds = _mm512_permutexvar_epi8(next, sets(&filter.seconds));
    _mm512_test_epi8_mask(sets(&filter.firsts), seconds)
}

/// For each byte the entry at its lowest seven bits, among the 128 entries of `table` that begin at `from`.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn look_up(table: &[u8], from: usize, bytes: __m512i) -> __m512i {
    let half = |at: usize| {
        let half = &table[at..at + BLOCK];
        // SAFETY: it reads the 64 bytes of the slice, which need not be aligned.
        unsafe { _mm512_loadu_si512(half.as_ptr().cast()) }
    };
    _mm512_permutex2var_epi8(half(from), bytes, half(from + BLOCK))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; BLOCK]) -> __m512i {
    // SAFETY: it reads the 64 bytes of the array, which need not be aligned.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// The place of each byte.
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

/// Bytes 3 of 32 hashes, then bytes 2.
static HIGH_BYTES: [u8; BLOCK] = selected(3, 2);
/// Bytes 1 of 32 hashes, then bytes 0.
static LOW_BYTES: [u8; BLOCK] = selected(1, 0);

#[allow(clippy::cast_possible_truncation)] // below 128
const fn selected(one: usize, other: usize) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    let mut i = 0;
    while i < 32 {
        bytes[i] = (4 * i + one) as u8;
        bytes[32 + i] = (4 * i + other) as u8;
        i += 1;
    }
    bytes
}
