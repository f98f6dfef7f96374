//! Activations on disk: plain safetensors shards and a journal that says which of them count.
//!
//! A store is a folder:
//!
//! * `manifest.json`: version, layers, width, dtype; written once, before anything else
//! * `shard-00000.safetensors`, ...: tensors `text` and `token` (rows,), which say where each row comes from, and
//!   `layer.0`, `layer.1`, ... (rows, width); readable with public tools
//! * `journal.jsonl`: a first line with the version, and one line per committed shard with its rows, its XXH3 checksum
//!   and the texts that it completes
//!
//! A shard is written beside its place, renamed, and only then journalled, so a store that was killed at any moment
//! holds whole shards and nothing else that counts: a torn last journal line is removed when it is opened to go on, and
//! the one shard that may lack a line gets it. A durable writer syncs each step to the disk before the next, while the
//! next shard is being written.
//!
//! No kill leaves two shards without a line, or a shard without a journal. Where that is found the journal was lost, and
//! the store is refused, to read and to write, until [`rebuild`] has written it anew: a shard's header says to which
//! capture it belongs.

mod error;
mod format;
mod journal;
mod reader;
mod rebuild;
mod shard;
mod writer;

pub use error::StoreError;
pub use format::{Dtype, Manifest, Shard};
pub use reader::{Row, RowBuffer, Store};
pub use rebuild::{Rebuilt, rebuild};
pub use writer::{NewShard, Writer};

/// XXH3 of some bytes, in hexadecimal, as it is kept of shards.
#[must_use]
pub fn xxh3(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}

#[cfg(test)]
mod tests;
