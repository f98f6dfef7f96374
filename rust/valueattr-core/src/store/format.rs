//! What is in the files of a store: which values a manifest, a shard and a line of the journal hold, and where in a shard
//! they lie. Nothing here touches the disk.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version that is written. In version 2, which is still read and gone on with, shards do not say to which capture
/// they belong and the journal has no first line; others are refused.
pub(super) const VERSION: u32 = 3;
pub(super) const OLDEST: u32 = 2;

/// The first line of a journal: without it, a journal that was emptied could not be told from a new one.
pub(super) const OPENING: &[u8] = b"{\"version\":3}\n";

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

    pub(super) fn of_name(name: &str) -> Option<Self> {
        let all = [Self::F32, Self::F16, Self::BF16];
        all.into_iter().find(|dtype| dtype.name() == name)
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

    pub(super) fn of_version_2(self) -> Self {
        Self {
            version: OLDEST,
            ..self
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

    /// Bytes of a shard behind its header.
    pub(super) fn data_bytes(&self, rows: usize) -> usize {
        self.layer_offset(rows, self.layers.len())
    }

    /// The same layers, width and dtype, in whatever version.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        (&self.layers, self.width, self.dtype) == (&other.layers, other.width, other.dtype)
    }

    pub(super) fn names_captures(&self) -> bool {
        self.version > OLDEST
    }

    /// The safetensors header of a shard, padded so that data starts at a multiple of 64 bytes.
    pub(super) fn header(&self, rows: usize, capture: &str, texts: usize) -> Vec<u8> {
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
        let metadata = self.names_captures().then(|| {
            let metadata = serde_json::json!({"capture": capture, "texts": texts.to_string()});
            format!(r#""__metadata__":{metadata}"#)
        });
        let tensors: Vec<String> = (metadata.into_iter())
            .chain(sources)
            .chain(layers)
            .collect();
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
