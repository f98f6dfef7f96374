use proptest::prelude::*;

use super::*;
use crate::scan::characters::{closes, ends_sentence, is_apostrophe, is_space, is_word};
use crate::scan::prefilter::Prefilter;

/// What all kernels give for the same arguments.
#[derive(Clone, Copy)]
struct All<'a> {
    block: &'a [u8; BLOCK],
    bits: u64,
    base: u32,
    text: &'a str,
    words: &'a [[u32; 2]],
    ascii_lexicon: bool,
}

#[derive(Debug, PartialEq)]
struct Given {
    classes: (Masks, u64),
    marks: u64,
    places: Vec<u32>,
    hashes: Vec<u32>,
}

impl Routine for All<'_> {
    type Output = Given;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> Given {
        let (masks, high) = kernels.ascii(self.block);
        let mut places = [0; BLOCK];
        kernels.places(self.bits, self.base, &mut places);
        let mut hashes = vec![0; self.words.len() + BLOCK];
        kernels.hashes(self.text, self.words, self.ascii_lexicon, &mut hashes);
        Given {
            classes: (masks, high),
            marks: kernels.marks(self.block, high),
            places: places[..self.bits.count_ones() as usize].to_vec(),
            hashes: hashes[..self.words.len()].to_vec(),
        }
    }
}

struct Passing<'a>(&'a Prefilter, &'a [u32; BLOCK]);

impl Routine for Passing<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<K: Kernels>(self, kernels: K) -> u64 {
        kernels.passing(self.0, self.1) & u64::MAX >> 1
    }
}

/// The same by each set of instructions that this machine has; plain Rust comes first.
fn by_each<T>(run: impl Fn() -> T) -> Vec<T> {
    let by = |set| {
        LIMIT.set(set);
        run()
    };
    let all = (0..=2).map(by).collect();
    LIMIT.set(2);
    all
}

fn assert_all_agree(all: All) {
    let given = by_each(|| dispatch(all));
    let (masks, high) = given[0].classes;
    for (i, &byte) in all.block.iter().enumerate() {
        let c = char::from(byte);
        let is = |mask: u64| mask >> i & 1 == 1;
        if byte >= 128 {
            assert!(is(masks.word) && is(high));
            continue;
        }
        assert!(!is(high));
        assert_eq!(is(masks.word), is_word(c), "{c:?}");
        assert_eq!(is(masks.space), is_space(c), "{c:?}");
        assert_eq!(is(masks.apostrophe), is_apostrophe(c), "{c:?}");
        assert_eq!(is(masks.terminator), ends_sentence(c), "{c:?}");
        assert_eq!(is(masks.closer), closes(c), "{c:?}");
        assert_eq!(is(masks.newline), c == '\n', "{c:?}");
    }
    for other in &given[1..] {
        assert_eq!(&given[0], other);
    }
}

/// The words of a text that are set apart by spaces, as bytes.
fn spaced_words(text: &str) -> Vec<[u32; 2]> {
    let place = |word: &str| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        [start, start + word.len()].map(|n| u32::try_from(n).expect("short"))
    };
    text.split_ascii_whitespace().map(place).collect()
}

proptest! {
    #[test]
    fn every_way_to_classify_a_block_agrees(
        block in prop::array::uniform32(any::<u8>()),
        other in prop::array::uniform32(any::<u8>()),
        bits in any::<u64>(),
        base in 0..u32::MAX - 64,
        text in "([a-z']{1,12} {1,2}|[A-Z0-9\u{e9}\u{2019}\u{2bc}]{1,5} | {100})*",
        ascii_lexicon in any::<bool>(),
    ) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&block);
        bytes[32..].copy_from_slice(&other);
        assert_all_agree(All {
            block: &bytes,
            bits,
            base,
            text: &text,
            words: &spaced_words(&text),
            ascii_lexicon,
        });
    }

    #[test]
    fn no_kernel_stops_a_pair_that_the_filter_lets_pass(
        wordings in prop::collection::vec((any::<u32>(), prop::option::of(any::<u32>())), 0..9),
        random in prop::collection::vec(any::<u32>(), BLOCK),
        places in prop::collection::vec(0..BLOCK - 1, 9),
    ) {
        let mut filter = Prefilter::new();
        let mut hashes = [0; BLOCK];
        hashes.copy_from_slice(&random);
        for ((first, second), at) in wordings.into_iter().zip(places) {
            filter.insert(first, second);
            hashes[at] = first;
            hashes[at + 1] = second.unwrap_or(hashes[at + 1]);
        }
        let found = by_each(|| dispatch(Passing(&filter, &hashes)));
        // Plain Rust asks the filter itself.
        for passing in &found[1..] {
            prop_assert_eq!(found[0] & passing, found[0]);
        }
    }
}

#[test]
fn every_byte_has_its_class_in_every_place() {
    for byte in 0..=255 {
        assert_all_agree(All {
            block: &[byte; 64],
            bits: u64::MAX,
            base: 0,
            text: "",
            words: &[],
            ascii_lexicon: true,
        });
    }
}
