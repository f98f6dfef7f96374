//! Counts hedging phrases and says where they stand.
//!
//! A text is classified 64 bytes at a time ([`classes`], with the instructions that [`simd`] finds) and cut into words and
//! sentences ([`words`]). A phrase is a path in a trie of folded words ([`trie`]). It is walked from the words that a filter
//! lets pass ([`candidates`]), and the guards are asked of what it finds ([`guard`], [`matcher`]).
//!
//! Invariants: matches are word-bounded by construction; within a kind they do not overlap and are leftmost, then
//! longest among those whose guards let them pass; kinds do not see each other. Offsets are characters (Unicode
//! scalar values) of the original text. The result does not depend on the number of threads.

// Kernels must be inlined into the functions that are compiled for an instruction set.
#![allow(clippy::inline_always)]

mod batch;
mod candidates;
mod characters;
mod classes;
mod folding;
mod guard;
mod index;
mod kind;
mod lexicon;
mod matcher;
mod pattern;
mod prefilter;
mod simd;
mod stance;
mod trie;
mod words;

pub(crate) use batch::pool;
pub use batch::{BatchError, ThreadsError, counts, spans};
pub use guard::Guard;
pub use index::{LONGEST_TEXT, TooLong, check_length};
pub use kind::Kind;
pub use lexicon::{ENGLISH, Entry, Lexicon, LexiconError};
pub use matcher::{Counts, Scratch, Span, Verdict};
pub use stance::{FEATURE_NAMES, Features, Reading, Stance};

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
