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
mod error;
mod fits;
mod kernels;
mod lbfgs;
mod linalg;
mod linear;
mod logistic;
mod moments;
mod objective;
mod problem;
mod ranking;
mod rows;
mod tiles;
mod workers;

pub use error::ProbeError;
pub use fits::Fits;
pub use linear::{Linear, fit_linear, fit_ridge};
pub use logistic::fit_logistic;
pub use problem::{Options, Problem};
pub use ranking::resampled_auroc;
pub use rows::Rows;
pub use workers::Run;
