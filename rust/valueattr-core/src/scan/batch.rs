//! Many texts at once, on as many threads as are asked for. The result does not depend on how many these are.

use rayon::prelude::*;

use super::index::{TooLong, check_length};
use super::lexicon::Lexicon;
use super::matcher::{Counts, Scratch, Span};
use super::simd::prefetch;

/// Below this many bytes a batch is scanned on the caller's thread: starting others would take longer.
const PARALLEL_FROM_BYTES: usize = 256 * 1024;

/// Why a batch cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("text {text} is too long: {error}")]
    TooLong { text: usize, error: TooLong },
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} scanning threads: {error}")]
pub struct ThreadsError {
    threads: usize,
    error: rayon::ThreadPoolBuildError,
}

/// Counts of each text, in order. `threads` 0 is one per core.
///
/// # Errors
/// A text is too long, or the operating system refuses to start threads.
pub fn counts(
    lexicon: &Lexicon,
    texts: &[&str],
    threads: usize,
) -> Result<Vec<Counts>, BatchError> {
    each(texts, threads, |text, scratch| lexicon.count(text, scratch))
}

/// Spans of each text, in order, sorted by start, then kind.
///
/// # Errors
/// A text is too long, or the operating system refuses to start threads.
pub fn spans(
    lexicon: &Lexicon,
    texts: &[&str],
    threads: usize,
) -> Result<Vec<Vec<Span>>, BatchError> {
    each(texts, threads, |text, scratch| lexicon.spans(text, scratch))
}

/// Threads that scan. A batch has a pool of its own, so that a forked process never waits for threads that it does not
/// have.
pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, ThreadsError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ThreadsError { threads, error })
}

fn each<T: Send>(
    texts: &[&str],
    threads: usize,
    scan: impl Fn(&str, &mut Scratch) -> T + Sync,
) -> Result<Vec<T>, BatchError> {
    for (text, bytes) in texts.iter().map(|text| text.len()).enumerate() {
        check_length(bytes).map_err(|error| BatchError::TooLong { text, error })?;
    }
    let scan_after_prefetch = |(i, text): (usize, &&str), scratch: &mut Scratch| {
        if let Some(next) = texts.get(i + 1) {
            prefetch(next);
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
    Ok(pool(threads)?.install(|| {
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
