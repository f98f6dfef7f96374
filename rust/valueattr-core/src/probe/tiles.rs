//! How rows are cut up: into tiles that caches hold, and into chunks of tiles, one at a time to a thread.
//!
//! Sums are formed per chunk and added in order. The number of chunks never depends on the threads, so neither does a
//! result.

/// Rows in a tile.
pub(super) const TILE: usize = 256;
/// The most chunks.
pub(super) const CHUNKS: usize = 16;

/// How many threads have something to do.
pub(super) fn chunks(rows: usize) -> usize {
    rows.div_ceil(TILE).clamp(1, CHUNKS)
}
