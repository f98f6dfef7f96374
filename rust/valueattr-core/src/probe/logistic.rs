//! Logistic regression, many fits that share X solved as one problem.
//!
//! Coefficients stand side by side as columns, so that a pass over X costs two matrix products whatever the number of
//! fits, and X is read once. Each fit runs L-BFGS whose initial Hessian is `K (x) X'X / n + l2 I`, K the current mean of
//! diag(p) - p p': one eigendecomposition of X'X, from some thousands of rows, serves them all. Products are f32 until
//! all fits are near their optimum, then f64; every reported gradient is f64.

use std::collections::BTreeMap;

use super::data::Data;
use super::error::ProbeError;
use super::fits::{Fit, Fits};
use super::lbfgs::{Lbfgs, Trial};
use super::linalg::{Spectrum, count, eigen};
use super::objective::{Batch, Evaluation, Point, evaluate};
use super::problem::{Options, Problem, Spec, positive};
use super::workers::{Run, Workers};

/// Columns solved at a time.
const COLUMNS: usize = 512;
/// Relative gradient norm that f32 products reach.
const F32_TOLERANCE: f64 = 1e-6;
/// The gradient that is rounding and nothing else, relative to the size of the features.
const F32_FLOOR: f64 = 1e-7;
const F64_FLOOR: f64 = 1e-12;
const F32_ROUNDING: f64 = 1e-6;
const F64_ROUNDING: f64 = 1e-13;

/// Solve every fit of the batch.
///
/// # Errors
///
/// Shapes that do not match, a value that is not finite, weights or penalties out of range, one class among the
/// training rows of a fit, a store that cannot be read.
pub fn fit_logistic(problem: &Problem, options: &Options, run: Run) -> Result<Fits, ProbeError> {
    problem.check()?;
    problem.l2.iter().try_for_each(|&l2| positive("l2", l2))?;
    positive("tol", options.tol)?;
    let mut specs = problem.specs()?;
    for spec in &mut specs {
        if spec.column_of.iter().flatten().count() == 2 {
            spec.width = 1;
        }
    }
    let workers = Workers::new(run, problem.x.len())?;
    let (weights, d) = (problem.weights(), problem.x.features());
    let mut units = vec![(Vec::new(), Vec::new()); weights.len() / problem.x.len()];
    let mut found: Vec<Fit> = specs.iter().map(|_| Fit::default()).collect();
    for sets in with_rows_in_common(&weights, problem.x.len()) {
        let own_weights: Vec<f64> = (sets.iter())
            .flat_map(|&set| &weights[set * problem.x.len()..][..problem.x.len()])
            .copied()
            .collect();
        let data = Data::new(problem.x, &own_weights, options.standardize, &workers)?;
        let labels: Vec<u32> = (problem.labels.chunks_exact(problem.x.len()))
            .flat_map(|set| data.of_rows(set))
            .collect();
        let batch = Batch {
            data: &data,
            labels: &labels,
        };
        let (mean, scale) = data.reported_units();
        let of_sets = mean.chunks_exact(d).zip(scale.chunks_exact(d));
        for (&set, (mean, scale)) in sets.iter().zip(of_sets) {
            units[set] = (mean.to_vec(), scale.to_vec());
        }
        let (places, own): (Vec<usize>, Vec<Spec>) = (specs.iter().enumerate())
            .filter_map(|(place, spec)| {
                let weight_set = sets.iter().position(|&set| set == spec.weight_set)?;
                let spec = spec.clone();
                Some((place, Spec { weight_set, ..spec }))
            })
            .unzip();
        let spectrum = data.spectrum(&workers)?;
        let widest = own.iter().map(|spec| spec.width).max().unwrap_or(1);
        let at_once = (COLUMNS / widest).max(1);
        for (places, specs) in places.chunks(at_once).zip(own.chunks(at_once)) {
            let solved = solve(&batch, specs, &spectrum, options, &workers)?;
            for (&place, solved) in places.iter().zip(solved) {
                found[place] = solved.into_fit(d);
            }
        }
    }
    let (mean, scale): (Vec<_>, Vec<_>) = units.into_iter().unzip();
    let units = (mean.concat(), scale.concat());
    Ok(Fits::of_classes(&specs).filled(&specs, &found, units))
}

/// Weight sets that rows link, directly or through others: what has no row in common shares no product, either.
fn with_rows_in_common(weights: &[f64], rows: usize) -> Vec<Vec<usize>> {
    let sets: Vec<&[f64]> = weights.chunks_exact(rows).collect();
    let mut linked: Vec<usize> = (0..sets.len()).collect();
    for row in 0..rows {
        let mut members = (0..sets.len()).filter(|&set| sets[set][row] > 0.0);
        let Some(first) = members.next().map(|set| linked[set]) else {
            continue;
        };
        let others: Vec<usize> = members
            .map(|set| linked[set])
            .filter(|&l| l != first)
            .collect();
        if !others.is_empty() {
            for link in linked.iter_mut().filter(|link| others.contains(link)) {
                *link = first;
            }
        }
    }
    let mut of_link: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (set, link) in linked.into_iter().enumerate() {
        of_link.entry(link).or_default().push(set);
    }
    of_link.into_values().collect()
}

/// Softmax intercepts are free up to a common shift; of one column there is nothing to choose.
fn centre_intercepts(theta: &mut [f64], features: usize) {
    let width = theta.len() / (features + 1);
    if width == 1 {
        return;
    }
    let intercepts = || (features..theta.len()).step_by(features + 1);
    let centre = intercepts().map(|i| theta[i]).sum::<f64>() / count(width);
    for i in intercepts() {
        theta[i] -= centre;
    }
}

struct Solved<'a> {
    spec: &'a Spec,
    solver: Lbfgs,
    /// Gradient norm at the start.
    first_norm: f64,
    /// Values and vectors of the curvature, as it was at the last power of two of steps.
    modes: (Vec<f64>, Vec<f64>),
    exact: bool,
    outcome: Option<bool>,
}

/// Run all fits of a group until each has converged or given up.
fn solve<'a>(
    batch: &Batch,
    specs: &'a [Spec],
    spectrum: &Spectrum,
    options: &Options,
    workers: &Workers,
) -> Result<Vec<Solved<'a>>, ProbeError> {
    let mut fits: Vec<Solved> = specs
        .iter()
        .map(|spec| Solved {
            spec,
            solver: Lbfgs::new(start(batch, spec), F32_ROUNDING),
            first_norm: 0.0,
            modes: (Vec::new(), Vec::new()),
            exact: false,
            outcome: None,
        })
        .collect();
    // A gradient below this is rounding, however small the first one was.
    let size = 1.0 + spectrum.trace().sqrt();
    let floors = [F32_FLOOR * size, F64_FLOOR * size];
    loop {
        // Passes stay in f32 as long as any fit needs it, so that the f64 passes have many columns too.
        let open = |exact: bool| -> Vec<usize> {
            let open = |&i: &usize| fits[i].outcome.is_none() && fits[i].exact == exact;
            (0..fits.len()).filter(open).collect()
        };
        let mut active = open(false);
        let exact = active.is_empty();
        if exact {
            active = open(true);
        }
        if active.is_empty() {
            return Ok(fits);
        }
        let points: Vec<Point> = active
            .iter()
            .map(|&i| Point {
                spec: fits[i].spec,
                theta: fits[i].solver.trial(),
            })
            .collect();
        let evaluations = if exact {
            evaluate::<f64>(batch, &points, workers)?
        } else {
            evaluate::<f32>(batch, &points, workers)?
        };
        let mut taken = Vec::new();
        for (i, evaluation) in active.into_iter().zip(evaluations) {
            if fits[i].advance(evaluation) {
                taken.push(i);
            }
        }
        precondition(batch.data, &mut fits, &taken, spectrum)?;
        for i in taken {
            fits[i].judge(options, floors);
        }
    }
}

impl Solved<'_> {
    /// Whether the fit now needs a direction.
    fn advance(&mut self, at: Evaluation) -> bool {
        match self.solver.receive(at) {
            Trial::Taken => return true,
            Trial::Shortened => {}
            Trial::Stuck if self.exact => self.outcome = Some(false),
            Trial::Stuck => self.go_exact(),
        }
        false
    }

    /// Whether the fit, given its next direction, has come to its end.
    fn judge(&mut self, options: &Options, [f32_floor, floor]: [f64; 2]) {
        let norm = self.solver.gradient_norm();
        if self.first_norm == 0.0 {
            self.first_norm = norm;
        }
        let near = self.solver.decrement() <= options.tol * self.solver.value().abs();
        let converged = norm <= floor || (norm <= options.tol * self.first_norm && near);
        let exhausted = self.solver.iterations >= options.max_iter;
        if self.exact && (converged || exhausted) {
            self.outcome = Some(converged);
        } else if !self.exact
            && (converged || exhausted || norm <= (F32_TOLERANCE * self.first_norm).max(f32_floor))
        {
            self.go_exact();
        }
    }

    fn into_fit(self, features: usize) -> Fit {
        let (iterations, objective) = (self.solver.iterations, self.solver.value());
        let gradient_norm = self.solver.gradient_norm();
        let mut theta = self.solver.into_theta();
        centre_intercepts(&mut theta, features);
        Fit {
            theta,
            converged: self.outcome == Some(true),
            iterations,
            objective,
            gradient_norm,
        }
    }

    fn go_exact(&mut self) {
        self.exact = true;
        self.solver.restart(F64_ROUNDING);
    }
}

/// W = 0 and the log-odds of the training rows' classes.
fn start(batch: &Batch, spec: &Spec) -> Vec<f64> {
    let (data, n) = (batch.data, batch.data.len());
    let weights = &data.weights[spec.weight_set * n..][..n];
    let labels = &batch.labels[spec.label_set * n..][..n];
    let mut share = vec![0.0; spec.column_of.len()];
    for (weight, &label) in weights.iter().zip(labels) {
        share[label as usize] += weight;
    }
    let mut theta = vec![0.0; spec.width * (data.features + 1)];
    let intercepts = theta
        .iter_mut()
        .skip(data.features)
        .step_by(data.features + 1);
    let present: Vec<f64> = share.into_iter().filter(|s| *s > 0.0).collect();
    if spec.width == 1 {
        intercepts.for_each(|b| *b = (present[1] / present[0]).ln());
    } else {
        intercepts.zip(present).for_each(|(b, s)| *b = s.ln());
    }
    theta
}

/// Give every fit of `taken` its next direction: `(K (x) X'X / n + l2 I)^-1` of what it asks for, K its curvature, with
/// one product per side of the eigenvectors of X'X.
fn precondition(
    data: &Data,
    fits: &mut [Solved],
    taken: &[usize],
    spectrum: &Spectrum,
) -> Result<(), ProbeError> {
    let d = data.features;
    let mut columns = Vec::new();
    let mut curvature_and_l2 = Vec::new();
    let mut halves = Vec::new();
    for &i in taken {
        let fit = &mut fits[i];
        let width = fit.spec.width;
        if fit.solver.iterations == 0 || fit.solver.iterations.is_power_of_two() {
            fit.modes =
                eigen(&fit.solver.curvature, width).ok_or(ProbeError::Eigen { features: d })?;
        }
        let (values, modes) = &fit.modes;
        let (q, alphas) = fit.solver.begin();
        let rotated = combine(&q, d + 1, |mode, class| modes[mode * width + class]);
        for (column, &curvature) in rotated.chunks_exact(d + 1).zip(values) {
            columns.extend_from_slice(&column[..d]);
            curvature_and_l2.push((curvature.max(0.0), fit.spec.l2));
        }
        halves.push((rotated, alphas));
    }
    spectrum.solve(&mut columns, &curvature_and_l2);
    let mut solved = columns.chunks_exact(d).zip(&curvature_and_l2);
    for (&i, (mut q, alphas)) in taken.iter().zip(halves) {
        for (target, (column, (curvature, _))) in q.chunks_exact_mut(d + 1).zip(&mut solved) {
            target[..d].copy_from_slice(column);
            // X is centred, so the intercept's own curvature is all there is.
            target[d] /= curvature.max(1e-6);
        }
        let (width, modes) = (fits[i].spec.width, &fits[i].modes.1);
        let q = combine(&q, d + 1, |class, mode| modes[mode * width + class]);
        fits[i].solver.finish(q, &alphas);
    }
    Ok(())
}

/// Columns that are sums of those of `columns`, each `length` long.
fn combine(columns: &[f64], length: usize, share: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; columns.len()];
    for (to, out) in out.chunks_exact_mut(length).enumerate() {
        for (from, column) in columns.chunks_exact(length).enumerate() {
            let share = share(to, from);
            out.iter_mut()
                .zip(column)
                .for_each(|(o, c)| *o += share * c);
        }
    }
    out
}
