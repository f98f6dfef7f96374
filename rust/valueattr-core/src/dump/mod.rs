//! Reads dumps of generations: texts by the line, plain or compressed, as JSON or as they are.
//!
//! [`Chunks`] reads, decompresses and hands out whole lines, half a megabyte at a time in buffers that are used again, so
//! that memory does not grow with the file; [`Lines`] takes the one field out of each line, which is scanned while it is
//! in the cache.

mod array;
mod chunks;
mod json;
mod lines;
mod parsed;
mod path;
mod scanned;

pub use chunks::Chunks;
pub use lines::Lines;
pub use path::PathStep;
pub use scanned::{BadLine, DumpScan, Scanned};

#[cfg(test)]
mod tests;
