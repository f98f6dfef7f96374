//! Counts hedging phrases and says where they stand.
//!
//! A text is cut into words ([`document`]); a phrase is a path in a trie of folded words ([`lexicon`]); matching
//! walks the trie from every word ([`matcher`]) and asks the guards of what it finds ([`guard`]). Cost: one hash
//! look-up per word, and per word that starts a phrase one per step of the trie.
//!
//! Invariants: matches are word-bounded by construction; within a kind they do not overlap and are leftmost, then
//! longest among those whose guards let them pass; kinds do not see each other. Offsets are characters (Unicode
//! scalar values) of the original text. The result does not depend on the number of threads.

mod document;
mod guard;
mod lexicon;
mod matcher;

use rayon::prelude::*;

pub use lexicon::{Kind, Lexicon, LexiconError};
pub use matcher::{Counts, Span};

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
    each(texts, threads, |text| matcher::count(lexicon, text))
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
    each(texts, threads, |text| matcher::spans(lexicon, text))
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {0} scanning threads: {1}")]
pub struct ThreadsError(usize, rayon::ThreadPoolBuildError);

/// A pool of its own per batch, so that a forked process never waits for threads that it does not have.
fn each<T: Send>(
    texts: &[&str],
    threads: usize,
    scan: impl Fn(&str) -> T + Sync,
) -> Result<Vec<T>, ThreadsError> {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    if threads == 1 || bytes < PARALLEL_FROM_BYTES {
        return Ok(texts.iter().map(|text| scan(text)).collect());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ThreadsError(threads, error))?;
    Ok(pool.install(|| {
        texts
            .par_iter()
            .with_min_len(16)
            .map(|text| scan(text))
            .collect()
    }))
}

#[cfg(test)]
mod tests;
