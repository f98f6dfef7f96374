//! Where the rows of X lie: in memory, or in a store whose files are read again in every pass.

use super::error::ProbeError;
use crate::store::{RowBuffer, Store};

/// The rows of X.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Values of shape (rows, features), row-major.
    Memory { values: &'a [f32], features: usize },
    /// A layer of a store, by its index.
    Layer { store: &'a Store, layer: usize },
}

impl Rows<'_> {
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            Self::Memory { features, .. } => *features,
            Self::Layer { store, .. } => store.manifest.width,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory { values, features } => values.len() / features.max(&1),
            Self::Layer { store, .. } => store.rows(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hand each of `wanted`, which ascends, to `each` in turn.
    pub(super) fn read(
        &self,
        wanted: &[usize],
        buffer: &mut RowBuffer,
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), ProbeError> {
        match self {
            Self::Memory { values, features } => {
                for &row in wanted {
                    each(&values[row * features..][..*features]);
                }
                Ok(())
            }
            Self::Layer { store, layer } => Ok(store.read(*layer, wanted, buffer, each)?),
        }
    }
}
