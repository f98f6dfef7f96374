//! Probes that follow from moments: ridge regression, discriminant analysis, mean differences.

use rayon::prelude::*;

use super::data::Data;
use super::error::ProbeError;
use super::fits::{Fit, Fits};
use super::linalg::{Solver, count, lower_times};
use super::moments::{Grams, Parts, Sums, Target};
use super::problem::{Problem, Spec, check_rows, positive, shape, weights_or_ones};
use super::rows::Rows;
use super::workers::{Run, Workers};

/// The kinds of probe. Classes have columns as in `Fits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    /// Least squares on 1 for the class and -1 for the others.
    Ridge,
    /// Linear discriminant analysis, priors the classes' shares. The penalty is the shrinkage, from 0 to 1, of the
    /// covariance within classes towards its mean variance.
    Discriminant,
    /// The nearest class mean in X's own units; the penalty has no part in it.
    MeanDifference,
    /// The nearest class mean, with distances by the covariance within classes.
    WhitenedMeanDifference,
}

/// Entries of the matrices that are solved at once, and the cubes of their sizes: by how much memory allows, and by how
/// long an interrupted call may take to end.
const ENTRIES: usize = 1 << 26;
const CUBES: usize = 1 << 31;

/// Fit the batch.
///
/// # Errors
///
/// The same as for `fit_logistic`, and a shrinkage that is not from 0 to 1.
pub fn fit_linear(
    problem: &Problem,
    kind: Linear,
    standardize: bool,
    run: Run,
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
    let workers = Workers::new(run, problem.x.len())?;
    let mut data = match kind {
        Linear::MeanDifference => Data::as_it_is(problem.x, &weights),
        Linear::WhitenedMeanDifference => Data::new(problem.x, &weights, false, &workers)?,
        _ => Data::new(problem.x, &weights, standardize, &workers)?,
    };
    let parts = Parts::of(&data);
    let slots = label_sets * classes;
    let into_classes = |row: usize, put: &mut dyn FnMut(usize, f64)| {
        for (set, labels) in problem.labels.chunks_exact(problem.x.len()).enumerate() {
            put(set * classes + labels[row] as usize, 1.0);
        }
    };
    let sums = if kind == Linear::MeanDifference {
        let sums = Sums::of::<f32>(&data, &parts, slots, &workers, into_classes)?;
        let means = (0..parts.sets()).flat_map(|set| sums.mean(&data, &parts, set, classes));
        data.take_means(means.collect())?;
        sums
    } else {
        Sums::of::<f64>(&data, &parts, slots, &workers, into_classes)?
    };
    let grams = (kind != Linear::MeanDifference).then(|| Grams::new(&data, &parts));
    let of_set = |set| sums.targets(&data, &parts, set);
    let fits = of_sets(
        &specs,
        grams,
        of_set,
        &workers,
        |covariance, targets, spec, solver| {
            let classes = &targets[spec.label_set * classes..][..classes];
            match kind {
                Linear::MeanDifference => Ok(nearest_mean(classes, spec)),
                Linear::Ridge => ridge(
                    covariance,
                    &against_the_rest(classes, spec),
                    spec.l2,
                    solver,
                ),
                Linear::Discriminant => discriminant(covariance, classes, spec, true, solver),
                Linear::WhitenedMeanDifference => {
                    discriminant(covariance, classes, spec, false, solver)
                }
            }
        },
    )?;
    Ok(Fits::of_classes(&specs).filled(&specs, &fits, data.reported_units()))
}

/// Ridge regression on numbers, `targets` (outputs, rows): fits of (penalty, weight set), a column per output.
///
/// # Errors
///
/// The same as for `fit_linear`, and a target that is not finite.
pub fn fit_ridge(
    x: Rows,
    targets: &[f64],
    weights: Option<&[f64]>,
    l2: &[f64],
    standardize: bool,
    run: Run,
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
    let workers = Workers::new(run, n)?;
    let data = Data::new(x, &weights, standardize, &workers)?;
    let parts = Parts::of(&data);
    // A large mean would drown what is predicted.
    let centres: Vec<f64> = (targets.chunks_exact(n))
        .map(|target| data.of_rows(target).sum::<f64>() / count(data.len()))
        .collect();
    let sums = Sums::of::<f64>(&data, &parts, outputs, &workers, |row, put| {
        for (output, centre) in centres.iter().enumerate() {
            put(output, targets[output * n + row] - centre);
        }
    })?;
    let sets = l2
        .iter()
        .flat_map(|&l2| (0..parts.sets()).map(move |set| (l2, set)));
    let specs: Vec<Spec> = sets
        .map(|(l2, weight_set)| Spec {
            l2,
            label_set: 0,
            weight_set,
            column_of: (0..outputs).map(Some).collect(),
            width: outputs,
        })
        .collect();
    let of_set = |set| sums.targets(&data, &parts, set);
    let grams = Some(Grams::new(&data, &parts));
    let fits = of_sets(
        &specs,
        grams,
        of_set,
        &workers,
        |covariance, targets, spec, solver| ridge(covariance, targets, spec.l2, solver),
    )?;
    let empty = Fits {
        classes: outputs,
        width: outputs,
        ..Fits::default()
    };
    let mut out = empty.filled(&specs, &fits, data.reported_units());
    let intercepts = out.intercepts.iter_mut().zip(centres.iter().cycle());
    intercepts.for_each(|(b, centre)| *b += centre);
    Ok(out)
}

/// Computes every fit from the covariance of its set (empty without `grams`) and its targets.
fn of_sets(
    specs: &[Spec],
    mut grams: Option<Grams>,
    targets: impl Fn(usize) -> Vec<Target>,
    workers: &Workers,
    fit: impl Fn(&[f64], &[Target], &Spec, &mut Solver) -> Result<Fit, ProbeError> + Sync,
) -> Result<Vec<Fit>, ProbeError> {
    let mut fits = vec![Fit::default(); specs.len()];
    let sets = specs.iter().map(|spec| spec.weight_set + 1).max();
    for set in 0..sets.unwrap_or(0) {
        let covariance = match &mut grams {
            Some(grams) => grams.covariance(set, workers)?,
            None => Vec::new(),
        };
        let targets = targets(set);
        let mut of_set: Vec<(&Spec, &mut Fit)> = (specs.iter().zip(&mut fits))
            .filter(|(spec, _)| spec.weight_set == set)
            .collect();
        // Each holds a matrix of its own.
        let size = covariance.len().isqrt().max(1);
        let at_once = (ENTRIES / size.pow(2)).min((CUBES / size.pow(3)).max(workers.threads()));
        for some in of_set.chunks_mut(at_once.max(1)) {
            workers.install(|| {
                some.par_iter_mut()
                    .try_for_each_init(Solver::default, |solver, (spec, found)| {
                        **found = fit(&covariance, &targets, spec, solver)?;
                        Ok::<_, ProbeError>(())
                    })
            })??;
        }
    }
    Ok(fits)
}

/// Turns classes, which are told by 1 and 0, into the targets 1 and -1 of a fit's columns.
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
        let mean_variance = variance / count(d);
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

/// The mean of each class, less the mean of all rows: shape (classes, features).
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
