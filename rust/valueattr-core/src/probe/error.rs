//! Why a batch cannot be fitted. An error names the row, set or feature that it is about, and what was found there.

use crate::store::StoreError;

/// Why a batch cannot be fitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    #[error("X has no {0}")]
    Empty(&'static str),
    #[error("expected {what} of {expected} values, found {found}")]
    Shape {
        what: &'static str,
        expected: String,
        found: usize,
    },
    #[error(
        "X is {found} at row {row}, feature {feature}: drop or repair the row, NaN and inf cannot be fitted"
    )]
    NotFinite {
        row: usize,
        feature: usize,
        found: f32,
    },
    #[error("sample_weight is {found} at set {set}, row {row}; expected a finite number >= 0")]
    Weight { set: usize, row: usize, found: f64 },
    #[error("{what} is {found}; expected a finite number > 0")]
    NotPositive { what: &'static str, found: f64 },
    #[error(
        "label set {label_set} has {found} among the rows that weight set {weight_set} trains on; expected two classes or more"
    )]
    OneClass {
        label_set: usize,
        weight_set: usize,
        found: &'static str,
    },
    #[error("the values of X are too large to be added up: scale them")]
    Overflow,
    #[error("weight set {weight_set} trains on no rows")]
    NoRows { weight_set: usize },
    #[error("the target of row {row} is {found}; expected a finite number")]
    Target { row: usize, found: f64 },
    #[error("shrinkage is {0}; expected a number from 0 to 1")]
    Shrinkage(f64),
    #[error("cannot start {threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the eigendecomposition of the {features} features' Gram matrix did not converge")]
    Eigen { features: usize },
}
