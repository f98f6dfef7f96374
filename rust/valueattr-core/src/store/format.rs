//! What is in the files of a store: which values a manifest, a shard and a line of the journal hold, and where in a shard
//! they lie. Nothing here touches the disk.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Stores of other versions are refused.
pub(super) const VERSION: u32 = 2;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    F32,
    F16,
    BF16,
}

impl Dtype {
    /// Bytes of one value.
    #[must_use]
    pub fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn name(self) -> &'static str {
        ["F32", "F16", "BF16"][self as usize]
    }
}

/// What is the same in every shard of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub(super) version: u32,
    pub layers: Vec<u32>,
    pub width: usize,
    pub dtype: Dtype,
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (layers, width, dtype) = (&self.layers, self.width, self.dtype.name());
        write!(f, "layers {layers:?} of {width} {dtype} values")
    }
}

/// Bytes of `text` and `token` of one row: 64-bit integers.
pub(super) const SOURCE_BYTES: usize = 16;

impl Manifest {
    #[must_use]
    pub fn new(layers: Vec<u32>, width: usize, dtype: Dtype) -> Self {
        Self {
            version: VERSION,
            layers,
            width,
            dtype,
        }
    }

    // A hostile manifest or journal may hold any number; no file has the length that these then ask for.

    pub(super) fn row_bytes(&self) -> usize {
        self.width.saturating_mul(self.dtype.size())
    }

    pub(super) fn layer_bytes(&self, rows: usize) -> usize {
        rows.saturating_mul(self.row_bytes())
    }

    /// Where the data of a layer (by its index) begins behind the header of a shard.
    pub(super) fn layer_offset(&self, rows: usize, index: usize) -> usize {
        rows.saturating_mul(SOURCE_BYTES)
            .saturating_add(index.saturating_mul(self.layer_bytes(rows)))
    }

    /// The safetensors header of a shard, padded so that data starts at a multiple of 64 bytes.
    pub(super) fn header(&self, rows: usize) -> Vec<u8> {
        let tensor = |name: &str, dtype: &str, shape: &str, from: usize, to: usize| {
            format!(
                r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{from},{to}]}}"#
            )
        };
        let half = rows.saturating_mul(SOURCE_BYTES / 2);
        let (one, two) = (rows.to_string(), format!("{rows},{}", self.width));
        let sources = [
            tensor("text", "I64", &one, 0, half),
            tensor("token", "I64", &one, half, half.saturating_mul(2)),
        ];
        let layers = self.layers.iter().enumerate().map(|(i, layer)| {
            let (from, to) = (self.layer_offset(rows, i), self.layer_offset(rows, i + 1));
            tensor(&format!("layer.{layer}"), self.dtype.name(), &two, from, to)
        });
        let tensors: Vec<String> = sources.into_iter().chain(layers).collect();
        let mut json = format!("{{{}}}", tensors.join(",")).into_bytes();
        json.resize((json.len() + 8).next_multiple_of(64) - 8, b' ');
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    }
}

/// One committed shard: a line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub file: String,
    pub rows: usize,
    /// The capture that it belongs to, and how many texts of it this shard holds.
    pub capture: String,
    pub texts: usize,
    /// XXH3 of the whole file, in hexadecimal.
    pub xxh3: String,
}

/// The file of the shard of this index.
pub(super) fn shard_name(index: usize) -> String {
    format!("shard-{index:05}.safetensors")
}
