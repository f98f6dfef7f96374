//! What is to be fitted, and whether it can be: the batch, its options, and every fit of it.

use std::borrow::Cow;

use super::error::ProbeError;
use super::rows::Rows;

/// A batch of fits on one X. Matrices are row-major.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    pub x: Rows<'a>,
    /// Class codes from 0, of shape (label sets, rows). The classes of the batch are 0 to the largest code.
    pub labels: &'a [u32],
    /// Weights of shape (weight sets, rows), not negative; a row of weight 0 is left out. `None` is one set of ones.
    pub weights: Option<&'a [f64]>,
    pub l2: &'a [f64],
}

impl Problem<'_> {
    pub(super) fn check(&self) -> Result<(), ProbeError> {
        check_rows(self.x, self.weights)?;
        shape("labels", self.labels.len(), self.x.len())?;
        shape("l2", self.l2.len(), 1)
    }

    pub(super) fn weights(&self) -> Cow<'_, [f64]> {
        weights_or_ones(self.weights, self.x.len())
    }

    /// Every fit of the batch, in the order of the results.
    pub(super) fn specs(&self) -> Result<Vec<Spec>, ProbeError> {
        let n = self.x.len();
        let largest = self.labels.iter().max().copied().unwrap_or(0);
        let classes = (largest as usize + 1).max(2);
        let weights = self.weights();
        let mut specs = Vec::new();
        for &l2 in self.l2 {
            for (label_set, labels) in self.labels.chunks_exact(n).enumerate() {
                for (weight_set, weights) in weights.chunks_exact(n).enumerate() {
                    let column_of = columns_of_classes(labels, weights, classes);
                    let present = column_of.iter().flatten().count();
                    if present < 2 {
                        return Err(ProbeError::OneClass {
                            label_set,
                            weight_set,
                            found: ["no rows", "one class"][present],
                        });
                    }
                    specs.push(Spec {
                        l2,
                        label_set,
                        weight_set,
                        width: if classes == 2 { 1 } else { present },
                        column_of,
                    });
                }
            }
        }
        Ok(specs)
    }
}

/// Which fit of the batch this is.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub l2: f64,
    pub label_set: usize,
    pub weight_set: usize,
    /// Column of each class, `None` for one without a training row; two may share one score, of the second.
    pub column_of: Vec<Option<usize>>,
    pub width: usize,
}

fn columns_of_classes(labels: &[u32], weights: &[f64], classes: usize) -> Vec<Option<usize>> {
    let mut present = vec![false; classes];
    for (&label, _) in labels.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
        present[label as usize] = true;
    }
    let mut columns = 0..classes;
    let column_of = present
        .into_iter()
        .map(|p| if p { columns.next() } else { None });
    column_of.collect()
}

pub(super) fn weights_or_ones(weights: Option<&[f64]>, rows: usize) -> Cow<'_, [f64]> {
    weights.map_or_else(|| Cow::Owned(vec![1.0; rows]), Cow::Borrowed)
}

pub(super) fn check_rows(x: Rows, weights: Option<&[f64]>) -> Result<(), ProbeError> {
    if x.features() == 0 {
        return Err(ProbeError::Empty("features"));
    }
    if x.is_empty() {
        return Err(ProbeError::Empty("rows"));
    }
    if let Rows::Memory { values, features } = x {
        shape("X", values.len(), features)?;
    }
    let Some(weights) = weights else {
        return Ok(());
    };
    let n = x.len();
    shape("sample_weight", weights.len(), n)?;
    match weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        Some(at) => Err(ProbeError::Weight {
            set: at / n,
            row: at % n,
            found: weights[at],
        }),
        None => Ok(()),
    }
}

pub(super) fn shape(what: &'static str, found: usize, multiple: usize) -> Result<(), ProbeError> {
    if found > 0 && found.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(ProbeError::Shape {
        what,
        expected: format!("a multiple of {multiple}"),
        found,
    })
}

pub(super) fn positive(what: &'static str, found: f64) -> Result<(), ProbeError> {
    if found.is_finite() && found > 0.0 {
        Ok(())
    } else {
        Err(ProbeError::NotPositive { what, found })
    }
}

/// How to solve a batch.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Scale every feature to unit variance over the training rows of each weight set. A constant one is left as it is.
    pub standardize: bool,
    /// A fit has converged when its gradient norm is at most `tol` times that of W = 0 with the best intercept, and what is
    /// left to gain, by a quadratic model, at most `tol` times the objective.
    pub tol: f64,
    /// The most steps for one fit.
    pub max_iter: u32,
}
