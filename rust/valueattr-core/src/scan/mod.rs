//! Counts hedging phrases and says where they stand.
//!
//! A text is classified 64 bytes at a time ([`blocks`]) and cut into words and sentences ([`words`]); a phrase is a path
//! in a trie of folded words ([`trie`]), walked from the words that a filter lets pass ([`filter`], [`matcher`]), and the guards are
//! asked of what it finds ([`guard`]).
//!
//! Invariants: matches are word-bounded by construction; within a kind they do not overlap and are leftmost, then
//! longest among those whose guards let them pass; kinds do not see each other. Offsets are characters (Unicode
//! scalar values) of the original text. The result does not depend on the number of threads.

// Kernels must be inlined into the functions that are compiled for an instruction set.
#![allow(clippy::inline_always)]

mod blocks;
mod characters;
mod filter;
mod folding;
mod guard;
mod lexicon;
mod matcher;
mod pattern;
mod trie;
mod words;

use rayon::prelude::*;

pub use guard::Guard;
pub use lexicon::{Kind, Lexicon, LexiconError};
pub use matcher::{Counts, Scratch, Span, Verdict};

/// The lexicon that ships with the crate.
pub const ENGLISH: &str = include_str!("../../lexicon/en.toml");

/// Below this many bytes a batch is scanned on the caller's thread: starting others would take longer.
const PARALLEL_FROM_BYTES: usize = 256 * 1024;

/// Counts of each text, in order. `threads` 0 is one per core.
///
/// # Errors
/// The operating system refuses to start threads.
pub fn counts(
    lexicon: &Lexicon,
    texts: &[&str],
    threads: usize,
) -> Result<Vec<Counts>, ThreadsError> {
    each(texts, threads, |text, scratch| lexicon.count(text, scratch))
}

/// Spans of each text, in order, sorted by start, then kind.
///
/// # Errors
/// The operating system refuses to start threads.
pub fn spans(
    lexicon: &Lexicon,
    texts: &[&str],
    threads: usize,
) -> Result<Vec<Vec<Span>>, ThreadsError> {
    each(texts, threads, |text, scratch| lexicon.spans(text, scratch))
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {0} scanning threads: {1}")]
pub struct ThreadsError(pub(crate) usize, pub(crate) rayon::ThreadPoolBuildError);

/// A pool of its own per batch, so that a forked process never waits for threads that it does not have.
fn each<T: Send>(
    texts: &[&str],
    threads: usize,
    scan: impl Fn(&str, &mut Scratch) -> T + Sync,
) -> Result<Vec<T>, ThreadsError> {
    let scan_after_prefetch = |(i, text): (usize, &&str), scratch: &mut Scratch| {
        if let Some(next) = texts.get(i + 1) {
            blocks::prefetch(next);
        }
        scan(text, scratch)
    };
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    if threads == 1 || bytes < PARALLEL_FROM_BYTES {
        let mut scratch = Scratch::default();
        return Ok((texts.iter().enumerate())
            .map(|text| scan_after_prefetch(text, &mut scratch))
            .collect());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ThreadsError(threads, error))?;
    Ok(pool.install(|| {
        texts
            .par_iter()
            .enumerate()
            .with_min_len(16)
            .map_init(Scratch::default, |scratch, text| {
                scan_after_prefetch(text, scratch)
            })
            .collect()
    }))
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
