//! Activations on disk: plain safetensors shards and a journal that says which of them count.
//!
//! A store is a folder:
//!
//! * `manifest.json`: version, layers, width, dtype; written once, before anything else
//! * `shard-00000.safetensors`, ...: tensors `text` and `token` (rows,), which say where each row comes from, and
//!   `layer.0`, `layer.1`, ... (rows, width); readable with public tools
//! * `journal.jsonl`: one line per committed shard with its rows, its XXH3 checksum and the texts that it completes
//!
//! A shard is written beside its place, renamed, and only then journalled, so a store that was killed at any moment
//! holds whole shards and nothing else that counts: a torn last journal line and shards without a line are removed
//! when it is opened to go on. A durable writer syncs each step to the disk before the next, while the next shard is
//! being written.

mod error;
mod format;
mod journal;
mod reader;
mod writer;

pub use error::StoreError;
pub use format::{Dtype, Manifest, Shard};
pub use reader::{Row, RowBuffer, Store};
pub use writer::{NewShard, Writer};

#[cfg(test)]
mod tests;
