//! Linear probes, many fits that share X solved as one problem.
//!
//! The batch is penalties x label sets x weight sets (folds, bootstraps). Logistic fits minimise, over coefficients W of
//! standardised features and free intercepts b,
//!
//! ```text
//! sum_i w_i loss(y_i, W x_i + b) / sum_i w_i  +  l2 / 2 |W|^2
//! ```
//!
//! with log-loss: of one score for two classes, of the softmax for more. In scikit-learn's terms
//! `C = 1 / (l2 sum_i w_i)`, on standardised features. Ridge has half the squared error for a loss (`alpha = l2 sum_i
//! w_i`); discriminant analysis and mean differences come from the same moments.
//!
//! X is in memory or in a store, whose files are read tile by tile in every pass: working memory does not depend on the
//! number of rows but for 12 bytes and a weight per set each. Sums run over tiles in a fixed order: results are bit for
//! bit the same for any number of threads.

mod data;
mod kernels;
mod lbfgs;
mod linalg;
mod linear;
mod logistic;
mod moments;
mod objective;
mod ranking;
mod rows;
mod workers;

use std::borrow::Cow;

pub use linear::{Linear, fit_linear, fit_ridge};
pub use logistic::fit_logistic;
pub use ranking::resampled_auroc;
pub use rows::Rows;
pub use workers::Run;
use workers::Workers;

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

/// A batch of fits on one X. Matrices are row-major.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    pub x: Rows<'a>,
    /// (label sets, rows): class codes from 0. The classes of the batch are 0 to the largest code.
    pub labels: &'a [u32],
    /// (weight sets, rows), not negative; a row of weight 0 is left out. `None`: one set of ones.
    pub weights: Option<&'a [f64]>,
    pub l2: &'a [f64],
}

impl Problem<'_> {
    fn check(&self) -> Result<(), ProbeError> {
        check_rows(self.x, self.weights)?;
        shape("labels", self.labels.len(), self.x.len())?;
        shape("l2", self.l2.len(), 1)
    }

    fn weights(&self) -> Cow<'_, [f64]> {
        weights_or_ones(self.weights, self.x.len())
    }

    /// Every fit of the batch, in the order of `Fits`.
    fn specs(&self) -> Result<Vec<Spec>, ProbeError> {
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
struct Spec {
    l2: f64,
    label_set: usize,
    weight_set: usize,
    /// Column of each class, `None` for one without a training row; two may share one score, of the second.
    column_of: Vec<Option<usize>>,
    width: usize,
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

fn weights_or_ones(weights: Option<&[f64]>, rows: usize) -> Cow<'_, [f64]> {
    weights.map_or_else(|| Cow::Owned(vec![1.0; rows]), Cow::Borrowed)
}

fn check_rows(x: Rows, weights: Option<&[f64]>) -> Result<(), ProbeError> {
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

fn shape(what: &'static str, found: usize, multiple: usize) -> Result<(), ProbeError> {
    if found > 0 && found.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(ProbeError::Shape {
        what,
        expected: format!("a multiple of {multiple}"),
        found,
    })
}

fn positive(what: &'static str, found: f64) -> Result<(), ProbeError> {
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
    /// Steps per fit.
    pub max_iter: u32,
}

/// The fitted batch: arrays in C order over (penalty, label set, weight set), then the axes given.
#[derive(Clone, Debug, Default)]
pub struct Fits {
    pub classes: usize,
    /// Columns per fit: 1 for two classes (the score of class 1), else one per class.
    pub width: usize,
    /// (..., width, features), on standardised features. Zero for a class without a training row.
    pub coefficients: Vec<f64>,
    /// (..., width); softmax intercepts sum to 0, a class without a training row has -inf.
    pub intercepts: Vec<f64>,
    /// (weight set, features), as is `scale`, which is 1 unless standardised.
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
    pub converged: Vec<bool>,
    pub iterations: Vec<u32>,
    /// The minimised objective, as in the module's formula; NaN where nothing is minimised.
    pub objective: Vec<f64>,
    /// Of the objective, in f64.
    pub gradient_norm: Vec<f64>,
}

impl Fits {
    fn of_classes(specs: &[Spec]) -> Self {
        let classes = specs[0].column_of.len();
        Self {
            classes,
            width: if classes == 2 { 1 } else { classes },
            ..Self::default()
        }
    }

    /// With every fit of a batch, and the mean and scale of every weight set.
    fn filled(mut self, specs: &[Spec], fits: &[Fit], units: (Vec<f64>, Vec<f64>)) -> Self {
        (self.mean, self.scale) = units;
        for (spec, fit) in specs.iter().zip(fits) {
            self.push(spec, fit);
        }
        self
    }

    fn push(&mut self, spec: &Spec, fit: &Fit) {
        self.converged.push(fit.converged);
        self.iterations.push(fit.iterations);
        self.objective.push(fit.objective);
        self.gradient_norm.push(fit.gradient_norm);
        let length = fit.theta.len() / spec.width;
        let mut push = |column: &[f64]| {
            self.coefficients.extend_from_slice(&column[..length - 1]);
            self.intercepts.push(column[length - 1]);
        };
        if self.width == 1 {
            return push(&fit.theta);
        }
        let mut absent = vec![0.0; length];
        absent[length - 1] = f64::NEG_INFINITY;
        let columns = if spec.width == 1 {
            // Two classes of more: half the score each way.
            let halves = [-0.5, 0.5].iter();
            let scaled = halves.flat_map(|half| fit.theta.iter().map(move |v| half * v));
            Cow::Owned(scaled.collect())
        } else {
            Cow::Borrowed(&fit.theta)
        };
        for column in &spec.column_of {
            push(column.map_or(&absent, |c| &columns[c * length..][..length]));
        }
    }
}

/// One fit of a batch.
#[derive(Clone, Debug)]
struct Fit {
    /// Per column the coefficients, then the intercept.
    theta: Vec<f64>,
    converged: bool,
    iterations: u32,
    objective: f64,
    gradient_norm: f64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            theta: Vec::new(),
            converged: true,
            iterations: 0,
            objective: f64::NAN,
            gradient_norm: f64::NAN,
        }
    }
}
