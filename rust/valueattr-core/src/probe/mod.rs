//! L2-regularised logistic regression, many fits that share X solved as one problem.
//!
//! A fit minimises over coefficients W of standardised features and free intercepts b
//!
//! ```text
//! sum_i w_i loss(y_i, W x_i + b) / sum_i w_i  +  l2 / 2 |W|^2
//! ```
//!
//! with log-loss: of one score for two classes, of the softmax for more. In scikit-learn's terms
//! `C = 1 / (l2 sum_i w_i)`, on standardised features.
//!
//! The batch is penalties x label sets x weight sets (folds, bootstraps). Its coefficients stand
//! side by side as columns, so that a pass over X costs two matrix products whatever the number of
//! fits, and X is read once. Each column runs L-BFGS whose initial Hessian is
//! `(c X'X / n + l2 I)^-1`, c the current mean of p(1 - p): one eigendecomposition serves them all.
//! Products are f32 until a fit is near its optimum, then f64; every reported gradient is f64.
//!
//! Sums run over tiles in a fixed order: results are bit for bit the same for any number of threads.
//! Working memory: 16 (features x columns) f64 and 20 per fit in L-BFGS, for at most 512 columns at a time.

mod data;
mod lbfgs;
mod linalg;
mod objective;

use std::num::NonZero;
use std::thread::available_parallelism;

use data::Data;
use lbfgs::{Lbfgs, Step};
use linalg::Spectrum;
use objective::{Point, Spec, evaluate};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Columns solved at a time.
const COLUMNS: usize = 512;
/// Relative gradient norm at which products change from f32 to f64.
const F32_TOLERANCE: f64 = 1e-4;
const F32_ROUNDING: f64 = 1e-6;
const F64_ROUNDING: f64 = 1e-13;

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
    #[error("cannot start {threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
    #[error("the eigendecomposition of the {features} features' Gram matrix did not converge")]
    Eigen { features: usize },
}

/// A batch of fits on one X. Matrices are row-major.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// (rows, features).
    pub x: &'a [f32],
    pub features: usize,
    /// (label sets, rows): class codes from 0. The classes of the batch are 0 to the largest code.
    pub labels: &'a [u32],
    /// (weight sets, rows), not negative; a row of weight 0 is left out. `None`: one set of ones.
    pub weights: Option<&'a [f64]>,
    pub l2: &'a [f64],
}

impl Problem<'_> {
    fn rows(&self) -> usize {
        self.x.len() / self.features
    }

    fn check(&self) -> Result<(), ProbeError> {
        if self.features == 0 {
            return Err(ProbeError::Empty("features"));
        }
        if self.x.is_empty() {
            return Err(ProbeError::Empty("rows"));
        }
        let n = self.rows();
        let shape = |what, values: usize, multiple: usize| {
            let whole = values > 0 && values.is_multiple_of(multiple);
            let error = || ProbeError::Shape {
                what,
                expected: format!("a multiple of {multiple}"),
                found: values,
            };
            if whole { Ok(()) } else { Err(error()) }
        };
        shape("X", self.x.len(), self.features)?;
        shape("labels", self.labels.len(), n)?;
        shape("l2", self.l2.len(), 1)?;
        if let Some(weights) = self.weights {
            shape("sample_weight", weights.len(), n)?;
            if let Some(at) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
                return Err(ProbeError::Weight {
                    set: at / n,
                    row: at % n,
                    found: weights[at],
                });
            }
        }
        self.l2.iter().try_for_each(|&l2| positive("l2", l2))
    }
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
    /// A fit has converged when its gradient norm is at most `tol` times that of W = 0 with the best intercept.
    pub tol: f64,
    /// Steps per fit.
    pub max_iter: u32,
    /// At most so many; 0 is one per core.
    pub threads: usize,
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
    /// (weight set, features), as is `scale`: 0 and 1 unless standardised.
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
    pub converged: Vec<bool>,
    pub iterations: Vec<u32>,
    /// The minimised objective, as in the module's formula.
    pub objective: Vec<f64>,
}

/// Solve every fit of the batch.
///
/// # Errors
///
/// Shapes that do not match, a value that is not finite, weights or penalties out of range, one
/// class among the training rows of a fit.
pub fn fit(problem: &Problem, options: &Options) -> Result<Fits, ProbeError> {
    problem.check()?;
    positive("tol", options.tol)?;
    let specs = specs(problem)?;
    let pool = pool(options.threads, problem.rows())?;
    let data = Data::new(problem, options.standardize, &pool)?;
    let spectrum = data.spectrum(&pool).ok_or(ProbeError::Eigen {
        features: problem.features,
    })?;
    let classes = specs[0].column_of.len();
    let mut fits = Fits {
        classes,
        width: if classes == 2 { 1 } else { classes },
        ..Fits::default()
    };
    (fits.mean, fits.scale) = reported_units(&data, options.standardize);
    for group in specs.chunks((COLUMNS / fits.width).max(1)) {
        for solved in solve(&data, group, &spectrum, options, &pool) {
            fits.push(solved, &data, options.standardize);
        }
    }
    Ok(fits)
}

/// Threads of its own for each call: nothing to inherit by a fork, nothing idle afterwards.
fn pool(threads: usize, rows: usize) -> Result<ThreadPool, ProbeError> {
    let threads = if threads == 0 {
        available_parallelism().map_or(1, NonZero::get)
    } else {
        threads
    };
    let threads = threads.min(data::chunks(rows));
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| ProbeError::Threads {
            threads,
            reason: e.to_string(),
        })
}

fn specs(problem: &Problem) -> Result<Vec<Spec>, ProbeError> {
    let n = problem.rows();
    let classes = problem
        .labels
        .iter()
        .max()
        .map_or(0, |&c| c as usize + 1)
        .max(2);
    let ones = vec![1.0; n];
    let weights = problem.weights.unwrap_or(&ones);
    let mut specs = Vec::new();
    for &l2 in problem.l2 {
        for (label_set, labels) in problem.labels.chunks_exact(n).enumerate() {
            for (weight_set, weights) in weights.chunks_exact(n).enumerate() {
                let mut present = vec![false; classes];
                for (&label, _) in labels.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
                    present[label as usize] = true;
                }
                let width = present.iter().filter(|p| **p).count();
                if width < 2 {
                    let found = ["no rows", "one class"][width];
                    return Err(ProbeError::OneClass {
                        label_set,
                        weight_set,
                        found,
                    });
                }
                let mut columns = 0..width;
                let column_of = present
                    .iter()
                    .map(|&p| if p { columns.next() } else { None })
                    .collect();
                let width = if classes == 2 { 1 } else { width };
                specs.push(Spec {
                    l2,
                    label_set,
                    weight_set,
                    column_of,
                    width,
                });
            }
        }
    }
    Ok(specs)
}

struct Solved<'a> {
    spec: &'a Spec,
    solver: Lbfgs,
    /// Gradient norm at the start.
    first_norm: f64,
    exact: bool,
    outcome: Option<bool>,
}

/// Run all fits of a group until each has converged or given up.
fn solve<'a>(
    data: &Data,
    specs: &'a [Spec],
    spectrum: &Spectrum,
    options: &Options,
    pool: &ThreadPool,
) -> Vec<Solved<'a>> {
    let mut fits: Vec<Solved> = specs
        .iter()
        .map(|spec| Solved {
            spec,
            solver: Lbfgs::new(start(data, spec), F32_ROUNDING),
            first_norm: 0.0,
            exact: false,
            outcome: None,
        })
        .collect();
    // A gradient below this is rounding, however small the first one was.
    let floor = 1e-12 * (1.0 + spectrum.trace().sqrt());
    loop {
        let mut taken = Vec::new();
        for exact in [false, true] {
            let active: Vec<usize> = (0..fits.len())
                .filter(|&i| fits[i].outcome.is_none() && fits[i].exact == exact)
                .collect();
            let points: Vec<Point> = active
                .iter()
                .map(|&i| Point {
                    spec: fits[i].spec,
                    theta: fits[i].solver.trial(),
                })
                .collect();
            let evaluations = if exact {
                evaluate::<f64>(data, &points, pool)
            } else {
                evaluate::<f32>(data, &points, pool)
            };
            for (i, evaluation) in active.into_iter().zip(evaluations) {
                if fits[i].advance(evaluation, options, floor) {
                    taken.push(i);
                }
            }
        }
        if taken.is_empty() && fits.iter().all(|fit| fit.outcome.is_some()) {
            return fits;
        }
        precondition(data, &mut fits, &taken, spectrum);
    }
}

impl Solved<'_> {
    /// Whether the fit now needs a direction.
    fn advance(&mut self, at: objective::Evaluation, options: &Options, floor: f64) -> bool {
        match self.solver.receive(at) {
            Step::Shortened => return false,
            Step::Stuck if self.exact => {
                self.outcome = Some(false);
                return false;
            }
            Step::Stuck => {
                self.go_exact();
                return false;
            }
            Step::Taken => {}
        }
        let norm = self.solver.gradient_norm();
        if self.first_norm == 0.0 {
            self.first_norm = norm;
        }
        let converged = norm <= (options.tol * self.first_norm).max(floor);
        let exhausted = self.solver.iterations >= options.max_iter;
        if self.exact && (converged || exhausted) {
            self.outcome = Some(converged);
            return false;
        }
        if !self.exact && (converged || exhausted || norm <= F32_TOLERANCE * self.first_norm) {
            self.go_exact();
            return false;
        }
        true
    }

    fn go_exact(&mut self) {
        self.exact = true;
        self.solver.restart(F64_ROUNDING);
    }
}

/// W = 0 and the log-odds of the training rows' classes.
fn start(data: &Data, spec: &Spec) -> Vec<f64> {
    let n = data.len();
    let weights = &data.weights[spec.weight_set * n..][..n];
    let labels = &data.labels[spec.label_set * n..][..n];
    let mut share = vec![0.0; spec.column_of.len()];
    for (weight, &label) in weights.iter().zip(labels) {
        share[label as usize] += weight;
    }
    let mut theta = vec![0.0; spec.width * (data.features + 1)];
    let intercepts = theta
        .iter_mut()
        .skip(data.features)
        .step_by(data.features + 1);
    if spec.width == 1 {
        intercepts.for_each(|b| *b = (share[1] / share[0]).ln());
    } else {
        share
            .iter()
            .filter(|s| **s > 0.0)
            .zip(intercepts)
            .for_each(|(s, b)| *b = s.ln());
    }
    theta
}

/// Give every fit of `taken` its next direction, with one product per side of the eigenvectors.
fn precondition(data: &Data, fits: &mut [Solved], taken: &[usize], spectrum: &Spectrum) {
    let d = data.features;
    let mut columns = Vec::new();
    let mut curvature_and_l2 = Vec::new();
    let mut halves = Vec::new();
    for &i in taken {
        let (q, alphas) = fits[i].solver.begin();
        for (column, &curvature) in q.chunks_exact(d + 1).zip(&fits[i].solver.curvature) {
            columns.extend_from_slice(&column[..d]);
            curvature_and_l2.push((curvature, fits[i].spec.l2));
        }
        halves.push((q, alphas));
    }
    spectrum.solve(&mut columns, &curvature_and_l2);
    let mut solved = columns.chunks_exact(d).zip(&curvature_and_l2);
    for (&i, (mut q, alphas)) in taken.iter().zip(halves) {
        for (target, (column, (curvature, _))) in q.chunks_exact_mut(d + 1).zip(&mut solved) {
            target[..d].copy_from_slice(column);
            // X is centred, so the intercept's own curvature is all there is.
            target[d] /= curvature.max(1e-6);
        }
        fits[i].solver.finish(q, &alphas);
    }
}

fn reported_units(data: &Data, standardize: bool) -> (Vec<f64>, Vec<f64>) {
    if !standardize {
        return (
            vec![0.0; data.set_mean.len()],
            vec![1.0; data.set_mean.len()],
        );
    }
    let pooled = || data.mean.iter().zip(&data.scale).cycle();
    let mean = data
        .set_mean
        .iter()
        .zip(pooled())
        .map(|(m, (mean, scale))| mean + scale * m)
        .collect();
    let scale = data
        .set_scale
        .iter()
        .zip(pooled())
        .map(|(s, (_, scale))| scale * s)
        .collect();
    (mean, scale)
}

impl Fits {
    fn push(&mut self, solved: Solved, data: &Data, standardize: bool) {
        let (d, spec) = (data.features, solved.spec);
        self.converged.push(solved.outcome == Some(true));
        self.iterations.push(solved.solver.iterations);
        self.objective.push(solved.solver.value());
        let mut theta = solved.solver.into_theta();
        if !standardize {
            // The solver's X is centred.
            let set_mean = &data.set_mean[spec.weight_set * d..][..d];
            for column in theta.chunks_exact_mut(d + 1) {
                let shift: f64 = (0..d)
                    .map(|j| column[j] * (data.mean[j] + set_mean[j]))
                    .sum();
                column[d] -= shift;
            }
        }
        if spec.width == 1 {
            self.coefficients.extend_from_slice(&theta[..d]);
            self.intercepts.push(theta[d]);
            return;
        }
        // Softmax intercepts are free up to a common shift.
        #[allow(clippy::cast_precision_loss)]
        let centre = theta.chunks_exact(d + 1).map(|c| c[d]).sum::<f64>() / spec.width as f64;
        for column in &spec.column_of {
            if let Some(column) = column.map(|c| &theta[c * (d + 1)..][..=d]) {
                self.coefficients.extend_from_slice(&column[..d]);
                self.intercepts.push(column[d] - centre);
            } else {
                self.coefficients.extend(std::iter::repeat_n(0.0, d));
                self.intercepts.push(f64::NEG_INFINITY);
            }
        }
    }
}
