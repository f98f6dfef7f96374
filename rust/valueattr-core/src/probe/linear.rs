//! Probes that follow from moments: ridge regression, discriminant analysis, mean differences.
//!
//! Rows that have the same share of their weight in every set form a part: of folds, each fold is one. Sums and Gram
//! matrices are formed per part, so that each row is multiplied once whatever the number of folds, and every set adds up
//! its parts.

use std::collections::HashMap;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::data::{Data, add, count};
use super::kernels::{self, AddScaled};
use super::linalg::{Real, Solver, lower_times};
use super::{
    Fit, Fits, ProbeError, Problem, Rows, Spec, check_rows, positive, shape, thread_pool,
    weights_or_ones,
};

/// Which probe. Classes have columns as in `Fits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    /// Least squares on 1 for the class and -1 for the others.
    Ridge,
    /// Linear discriminant analysis, priors the classes' shares. The penalty is the shrinkage, from 0 to 1, of the
    /// covariance within classes towards its mean variance.
    Discriminant,
    /// The nearest class mean in X's own units; the penalty has no part in it.
    MeanDifference,
    /// As that, with distances by the covariance within classes.
    WhitenedMeanDifference,
}

/// Entries of the matrices that are solved at once.
const MATRICES: usize = 1 << 26;

/// Fit the batch.
///
/// # Errors
///
/// As `fit_logistic`; a shrinkage that is not from 0 to 1.
pub fn fit_linear(
    problem: &Problem,
    kind: Linear,
    standardize: bool,
    threads: usize,
) -> Result<Fits, ProbeError> {
    problem.check()?;
    problem.l2.iter().try_for_each(|&l2| match kind {
        Linear::Ridge => positive("l2", l2),
        Linear::Discriminant if !(0.0..=1.0).contains(&l2) => Err(ProbeError::Shrinkage(l2)),
        _ => Ok(()),
    })?;
    let specs = problem.specs()?;
    let (weights, classes) = (problem.weights(), specs[0].column_of.len());
    let label_sets = problem.labels.len() / problem.x.len();
    let pool = thread_pool(threads, problem.x.len())?;
    let mut data = match kind {
        Linear::MeanDifference => Data::as_it_is(problem.x, &weights),
        Linear::WhitenedMeanDifference => Data::new(problem.x, &weights, false, &pool)?,
        _ => Data::new(problem.x, &weights, standardize, &pool)?,
    };
    let parts = Parts::of(&data);
    let slots = label_sets * classes;
    let into_classes = |row: usize, put: &mut dyn FnMut(usize, f64)| {
        for (set, labels) in problem.labels.chunks_exact(problem.x.len()).enumerate() {
            put(set * classes + labels[row] as usize, 1.0);
        }
    };
    let sums = if kind == Linear::MeanDifference {
        Sums::of::<f32>(&data, &parts, slots, &pool, into_classes)?
    } else {
        Sums::of::<f64>(&data, &parts, slots, &pool, into_classes)?
    };
    if kind == Linear::MeanDifference {
        data.set_mean = (0..parts.sets())
            .flat_map(|set| sums.mean(&data, &parts, set, classes))
            .collect();
        if !data.set_mean.iter().all(|v| v.is_finite()) {
            return Err(data.first_not_finite()?);
        }
    }
    let mut grams = Grams::new(&data, &parts);
    let mut fits: Vec<Fit> = specs.iter().map(|_| Fit::default()).collect();
    for set in 0..parts.sets() {
        let covariance = match kind {
            Linear::MeanDifference => Vec::new(),
            _ => grams.covariance(set, &pool)?,
        };
        let targets = sums.targets(&data, &parts, set);
        let fit = |solver: &mut Solver, i: usize| {
            let spec: &Spec = &specs[i];
            let classes = &targets[spec.label_set * classes..][..classes];
            let fit = match kind {
                Linear::MeanDifference => nearest_mean(classes, spec),
                Linear::Ridge => ridge(
                    &covariance,
                    &against_the_rest(classes, spec),
                    spec.l2,
                    solver,
                )?,
                Linear::Discriminant => discriminant(&covariance, classes, spec, true, solver)?,
                Linear::WhitenedMeanDifference => {
                    discriminant(&covariance, classes, spec, false, solver)?
                }
            };
            Ok((i, fit))
        };
        let of_set: Vec<usize> = (0..specs.len())
            .filter(|&i| specs[i].weight_set == set)
            .collect();
        // Each holds a matrix of its own: no more at once than memory allows.
        for some in of_set.chunks((MATRICES / data.features.pow(2)).max(1)) {
            let found: Result<Vec<_>, ProbeError> = pool.install(|| {
                some.par_iter()
                    .map_init(Solver::default, |solver, &i| fit(solver, i))
                    .collect()
            });
            for (i, fit) in found? {
                fits[i] = fit;
            }
        }
    }
    let mut out = Fits::new(&specs);
    (out.mean, out.scale) = data.reported_units();
    for (spec, fit) in specs.iter().zip(fits) {
        out.push(spec, &fit);
    }
    Ok(out)
}

/// Ridge regression on numbers, `targets` (outputs, rows): fits of (penalty, weight set), a column per output.
///
/// # Errors
///
/// As `fit_linear`; a target that is not finite.
pub fn fit_ridge(
    x: Rows,
    targets: &[f64],
    weights: Option<&[f64]>,
    l2: &[f64],
    standardize: bool,
    threads: usize,
) -> Result<Fits, ProbeError> {
    check_rows(x, weights)?;
    shape("targets", targets.len(), x.len())?;
    l2.iter().try_for_each(|&l2| positive("l2", l2))?;
    let n = x.len();
    if let Some(at) = targets.iter().position(|t| !t.is_finite()) {
        return Err(ProbeError::Target {
            row: at % n,
            found: targets[at],
        });
    }
    let (weights, outputs) = (weights_or_ones(weights, n), targets.len() / n);
    if let Some(set) = weights
        .chunks_exact(n)
        .position(|set| set.iter().all(|w| *w == 0.0))
    {
        return Err(ProbeError::NoRows { weight_set: set });
    }
    let pool = thread_pool(threads, n)?;
    let data = Data::new(x, &weights, standardize, &pool)?;
    let parts = Parts::of(&data);
    // A large mean would drown what is predicted.
    let centres: Vec<f64> = (targets.chunks_exact(n))
        .map(|target| data.of_rows(target).sum::<f64>() / count(data.len()))
        .collect();
    let sums = Sums::of::<f64>(&data, &parts, outputs, &pool, |row, put| {
        for (output, centre) in centres.iter().enumerate() {
            put(output, targets[output * n + row] - centre);
        }
    })?;
    let mut grams = Grams::new(&data, &parts);
    let mut fits = Vec::new();
    for set in 0..parts.sets() {
        let covariance = grams.covariance(set, &pool)?;
        let of_set = sums.targets(&data, &parts, set);
        let found: Result<Vec<_>, ProbeError> = pool.install(|| {
            l2.par_iter()
                .map_init(Solver::default, |solver, &l2| {
                    ridge(&covariance, &of_set, l2, solver)
                })
                .collect()
        });
        fits.push(found?.into_iter());
    }
    let mut out = Fits {
        classes: outputs,
        width: outputs,
        ..Fits::default()
    };
    (out.mean, out.scale) = data.reported_units();
    let columns = (0..outputs).map(Some).collect();
    let spec = Spec {
        l2: 0.0,
        label_set: 0,
        weight_set: 0,
        column_of: columns,
        width: outputs,
    };
    for _ in l2 {
        for mut fit in fits.iter_mut().filter_map(Iterator::next) {
            let intercepts = fit.theta.iter_mut().skip(data.features);
            let intercepts = intercepts.step_by(data.features + 1);
            intercepts
                .zip(&centres)
                .for_each(|(b, centre)| *b += centre);
            out.push(&spec, &fit);
        }
    }
    Ok(out)
}

/// How the rows that count make up the weight sets.
struct Parts {
    parts: Vec<Part>,
    /// (sets, parts): which share of a part's weights is that of a set.
    share: Vec<f64>,
}

struct Part {
    /// Of the rows that count.
    rows: Vec<usize>,
    weights: Vec<f64>,
}

impl Parts {
    fn of(data: &Data) -> Self {
        let sets: Vec<&[f64]> = data.weights.chunks_exact(data.len()).collect();
        let mut found = Self {
            parts: Vec::new(),
            share: Vec::new(),
        };
        let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
        for row in 0..data.len() {
            let most = sets.iter().map(|set| set[row]).fold(0.0, f64::max);
            let share: Vec<f64> = sets.iter().map(|set| set[row] / most).collect();
            // Shares that only rounding tells apart are one.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let key = share.iter().map(|s| (s * 1e12).round() as u64).collect();
            let part = *known.entry(key).or_insert_with(|| {
                found.parts.push(Part {
                    rows: Vec::new(),
                    weights: Vec::new(),
                });
                found.share.extend_from_slice(&share);
                found.parts.len() - 1
            });
            found.parts[part].rows.push(row);
            found.parts[part].weights.push(most);
            if found.parts.len() > sets.len() {
                return Self::of_each_set(&sets);
            }
        }
        // From (parts, sets).
        let by_part = std::mem::take(&mut found.share);
        found.share = (0..sets.len())
            .flat_map(|set| by_part.iter().skip(set).step_by(sets.len()).copied())
            .collect();
        found
    }

    /// Where sets have no more in common than that, as bootstraps have not.
    fn of_each_set(sets: &[&[f64]]) -> Self {
        let part = |set: &&[f64]| {
            let rows: Vec<usize> = (0..set.len()).filter(|&row| set[row] > 0.0).collect();
            let weights = rows.iter().map(|&row| set[row]).collect();
            Part { rows, weights }
        };
        let own = (0..sets.len() * sets.len()).map(|i| i % (sets.len() + 1) == 0);
        Self {
            parts: sets.iter().map(part).collect(),
            share: own.map(|own| if own { 1.0 } else { 0.0 }).collect(),
        }
    }

    fn sets(&self) -> usize {
        self.share.len() / self.parts.len()
    }

    /// Parts of a set with their shares.
    fn of_set(&self, set: usize) -> impl Iterator<Item = (usize, f64)> {
        let shares = &self.share[set * self.parts.len()..][..self.parts.len()];
        (shares.iter().copied().enumerate()).filter(|(_, share)| *share > 0.0)
    }
}

/// Gram matrices of parts, each kept from the first set that needs it to the last.
struct Grams<'a> {
    data: &'a Data<'a>,
    parts: &'a Parts,
    of_part: Vec<Option<Vec<f64>>>,
}

impl<'a> Grams<'a> {
    fn new(data: &'a Data<'a>, parts: &'a Parts) -> Self {
        let of_part = parts.parts.iter().map(|_| None).collect();
        Self {
            data,
            parts,
            of_part,
        }
    }

    /// Covariance of the features of a set, standardised: lower triangle, column-major. Sets come in order.
    fn covariance(&mut self, set: usize, pool: &ThreadPool) -> Result<Vec<f64>, ProbeError> {
        let (data, d) = (self.data, self.data.features);
        let mut sum = vec![0.0; d * d];
        for (part, share) in self.parts.of_set(set) {
            let Part { rows, weights } = &self.parts.parts[part];
            let weigh = |at: usize, x: &mut [f64]| {
                let root = weights[at].sqrt();
                for v in x {
                    *v *= root;
                }
            };
            let kept = self.of_part[part].take();
            let gram = kept.map_or_else(|| data.gram::<f64>(rows, weigh, pool), Ok)?;
            pool.install(|| {
                (sum.par_chunks_mut(d).zip(gram.par_chunks(d))).for_each(|(sum, gram)| {
                    sum.iter_mut().zip(gram).for_each(|(s, g)| *s += share * g);
                });
            });
            if (set + 1..self.parts.sets())
                .any(|later| self.parts.share[later * self.parts.parts.len() + part] > 0.0)
            {
                self.of_part[part] = Some(gram);
            }
        }
        let weight = count(data.len());
        let (mean, scale) = data.units(set);
        pool.install(|| {
            sum.par_chunks_mut(d).enumerate().for_each(|(j, column)| {
                for (i, value) in column.iter_mut().enumerate().skip(j) {
                    *value = (*value / weight - mean[i] * mean[j]) / (scale[i] * scale[j]);
                }
            });
        });
        Ok(sum)
    }
}

/// Of each part and slot, `sum w v` and `sum w v x` in pooled units; and `sum w v^2`.
struct Sums {
    slots: usize,
    features: usize,
    /// (parts, slots).
    first: Vec<f64>,
    second: Vec<f64>,
    /// (parts, slots, features).
    x: Vec<f64>,
}

/// A number per row as a set sees it: its mean and variance, and its covariance with the features.
struct Target {
    mean: f64,
    variance: f64,
    covariance: Vec<f64>,
}

impl Sums {
    /// `values` puts the values v of a row of X into slots.
    fn of<T: Real>(
        data: &Data,
        parts: &Parts,
        slots: usize,
        pool: &ThreadPool,
        values: impl Fn(usize, &mut dyn FnMut(usize, f64)) + Sync,
    ) -> Result<Self, ProbeError> {
        let d = data.features;
        let mut parts_of_row = vec![Vec::new(); data.len()];
        for (part, Part { rows, weights }) in parts.parts.iter().enumerate() {
            for (&row, &weight) in rows.iter().zip(weights) {
                parts_of_row[row].push((part, weight));
            }
        }
        let places = parts.parts.len() * slots;
        data.reduce::<T, _>(
            pool,
            || Self {
                slots,
                features: d,
                first: vec![0.0; places],
                second: vec![0.0; places],
                x: vec![0.0; places * d],
            },
            |sums, tile, x| {
                for (row, x) in tile.zip(x.chunks_exact(d)) {
                    values(data.rows[row], &mut |slot, value| {
                        for &(part, weight) in &parts_of_row[row] {
                            let place = part * slots + slot;
                            sums.first[place] += weight * value;
                            sums.second[place] += weight * value * value;
                            kernels::run(AddScaled {
                                sum: &mut sums.x[place * d..][..d],
                                factor: weight * value,
                                x,
                            });
                        }
                    });
                }
            },
            |sums, other| {
                add(&mut sums.first, &other.first);
                add(&mut sums.second, &other.second);
                add(&mut sums.x, &other.x);
            },
        )
    }

    /// Mean of the features of a set, in pooled units; `slots` hold each row once, with value 1.
    fn mean(&self, data: &Data, parts: &Parts, set: usize, slots: usize) -> Vec<f64> {
        let mut sum = vec![0.0; self.features];
        for (part, share) in parts.of_set(set) {
            for x in self.x[part * self.slots * self.features..]
                .chunks_exact(self.features)
                .take(slots)
            {
                sum.iter_mut().zip(x).for_each(|(s, x)| *s += share * x);
            }
        }
        sum.into_iter().map(|s| s / count(data.len())).collect()
    }

    /// Each slot as a set sees it.
    fn targets(&self, data: &Data, parts: &Parts, set: usize) -> Vec<Target> {
        let d = self.features;
        let (centre, scale) = data.units(set);
        let target = |slot: usize| {
            let (mut mean, mut square, mut covariance) = (0.0, 0.0, vec![0.0; d]);
            for (part, share) in parts.of_set(set) {
                let place = part * self.slots + slot;
                let share = share / count(data.len());
                mean += share * self.first[place];
                square += share * self.second[place];
                let x = &self.x[place * d..][..d];
                covariance
                    .iter_mut()
                    .zip(x)
                    .for_each(|(c, x)| *c += share * x);
            }
            for (c, (centre, scale)) in covariance.iter_mut().zip(centre.iter().zip(scale)) {
                *c = (*c - mean * centre) / scale;
            }
            Target {
                mean,
                variance: square - mean * mean,
                covariance,
            }
        };
        (0..self.slots).map(target).collect()
    }
}

/// From classes, told by 1 and 0, to the targets 1 and -1 of a fit's columns.
fn against_the_rest(classes: &[Target], spec: &Spec) -> Vec<Target> {
    let of_columns = columns(classes, spec)
        .into_iter()
        .skip(usize::from(spec.width == 1));
    let target = |class: &Target| Target {
        mean: 2.0 * class.mean - 1.0,
        variance: 4.0 * class.variance,
        covariance: class.covariance.iter().map(|c| 2.0 * c).collect(),
    };
    of_columns.map(target).collect()
}

/// The classes that a fit tells apart.
fn columns<'a>(classes: &'a [Target], spec: &Spec) -> Vec<&'a Target> {
    let present = classes.iter().zip(&spec.column_of);
    present
        .filter(|(_, column)| column.is_some())
        .map(|(class, _)| class)
        .collect()
}

/// Least squares from moments: half the mean squared error + l2 / 2 |W|^2.
fn ridge(
    covariance: &[f64],
    targets: &[Target],
    l2: f64,
    solver: &mut Solver,
) -> Result<Fit, ProbeError> {
    let d = targets[0].covariance.len();
    let right: Vec<f64> = targets
        .iter()
        .flat_map(|t| &t.covariance)
        .copied()
        .collect();
    let mut w = right.clone();
    solver
        .solve(covariance, l2, &mut w, d)
        .ok_or(ProbeError::Eigen { features: d })?;
    let product = lower_times(covariance, &w, d);
    let (mut objective, mut gradient) = (0.0, 0.0);
    for (w, (product, right)) in w.iter().zip(product.iter().zip(&right)) {
        let product = product + l2 * w;
        objective += w * (product / 2.0 - right);
        gradient += (product - right) * (product - right);
    }
    objective += targets.iter().map(|t| t.variance / 2.0).sum::<f64>();
    let intercepts = targets.iter().map(|t| t.mean);
    Ok(Fit {
        theta: with_intercepts(&w, d, intercepts),
        objective,
        gradient_norm: gradient.sqrt(),
        ..Fit::default()
    })
}

/// Discriminant functions from moments, whitened by the covariance within classes: with the classes' shares as priors and
/// the penalty as shrinkage, or with equal priors and none.
fn discriminant(
    covariance: &[f64],
    classes: &[Target],
    spec: &Spec,
    regularised: bool,
    solver: &mut Solver,
) -> Result<Fit, ProbeError> {
    let classes = columns(classes, spec);
    let d = classes[0].covariance.len();
    let mut within = covariance.to_vec();
    for class in &classes {
        for (j, column) in within.chunks_exact_mut(d).enumerate() {
            let factor = class.covariance[j] / class.mean;
            for (value, c) in column[j..].iter_mut().zip(&class.covariance[j..]) {
                *value -= factor * c;
            }
        }
    }
    if regularised {
        let variance: f64 = within.iter().step_by(d + 1).sum();
        for v in &mut within {
            *v *= 1.0 - spec.l2;
        }
        #[allow(clippy::cast_precision_loss)]
        let mean_variance = variance / d as f64;
        within
            .iter_mut()
            .step_by(d + 1)
            .for_each(|v| *v += spec.l2 * mean_variance);
    }
    let means = class_means(&classes);
    let mut w = means.clone();
    solver
        .solve(&within, 0.0, &mut w, d)
        .ok_or(ProbeError::Eigen { features: d })?;
    let prior = |class: &Target| if regularised { class.mean.ln() } else { 0.0 };
    Ok(scores_of_classes(
        &w,
        &means,
        classes.iter().map(|c| prior(c)),
        spec,
    ))
}

/// The nearest class mean in the features' own units.
fn nearest_mean(classes: &[Target], spec: &Spec) -> Fit {
    let classes = columns(classes, spec);
    let means = class_means(&classes);
    scores_of_classes(&means, &means, classes.iter().map(|_| 0.0), spec)
}

/// (classes, features): less the mean of all.
fn class_means(classes: &[&Target]) -> Vec<f64> {
    let mean = |class: &&Target| {
        let share = class.mean;
        class
            .covariance
            .iter()
            .map(move |c| c / share)
            .collect::<Vec<_>>()
    };
    classes.iter().flat_map(mean).collect()
}

/// Scores `w x - w m / 2 + prior` of each class; of two, the second's less the first's.
fn scores_of_classes(
    w: &[f64],
    means: &[f64],
    priors: impl Iterator<Item = f64>,
    spec: &Spec,
) -> Fit {
    let d = w.len() / spec.width.max(2);
    let intercepts =
        (w.chunks_exact(d).zip(means.chunks_exact(d)).zip(priors)).map(|((w, mean), prior)| {
            prior - w.iter().zip(mean).map(|(w, m)| w * m).sum::<f64>() / 2.0
        });
    let mut theta = with_intercepts(w, d, intercepts);
    if spec.width == 1 {
        let second = theta.split_off(d + 1);
        theta
            .iter_mut()
            .zip(second)
            .for_each(|(first, second)| *first = second - *first);
    }
    Fit {
        theta,
        ..Fit::default()
    }
}

fn with_intercepts(w: &[f64], d: usize, intercepts: impl Iterator<Item = f64>) -> Vec<f64> {
    let columns = w.chunks_exact(d).zip(intercepts);
    columns
        .flat_map(|(w, b)| w.iter().copied().chain([b]))
        .collect()
}
