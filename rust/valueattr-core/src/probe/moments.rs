//! Means, Gram matrices and products with targets of every weight set.
//!
//! Rows that have the same share of their weight in every set form a part: of folds, each fold is one. Sums and Gram
//! matrices are formed per part, so that each row is multiplied once whatever the number of folds, and every set adds up
//! its parts.

use std::collections::HashMap;

use rayon::prelude::*;

use super::data::{Data, add};
use super::error::ProbeError;
use super::kernels::{self, AddScaled};
use super::linalg::{Real, count};
use super::workers::Workers;

/// How the rows that count make up the weight sets.
pub(super) struct Parts {
    parts: Vec<Part>,
    /// Shape (sets, parts): the share of a part's weights that belongs to a set.
    share: Vec<f64>,
}

#[derive(Default)]
struct Part {
    /// Indices into the rows that count.
    rows: Vec<usize>,
    weights: Vec<f64>,
}

impl Parts {
    pub(super) fn of(data: &Data) -> Self {
        let sets: Vec<&[f64]> = data.weights.chunks_exact(data.len()).collect();
        let mut found = Self {
            parts: Vec::new(),
            share: Vec::new(),
        };
        let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
        let (mut share, mut key) = (Vec::new(), Vec::new());
        for row in 0..data.len() {
            let most = sets.iter().map(|set| set[row]).fold(0.0, f64::max);
            share.clear();
            share.extend(sets.iter().map(|set| set[row] / most));
            // Shares that only rounding tells apart are one: 40 bits do not tell it.
            key.clear();
            key.extend(share.iter().map(|s: &f64| (s.to_bits() + (1 << 11)) >> 12));
            let part = known.get(&key).copied().unwrap_or(found.parts.len());
            if part == found.parts.len() {
                known.insert(key.clone(), part);
                found.parts.push(Part::default());
                found.share.extend_from_slice(&share);
            }
            found.parts[part].rows.push(row);
            found.parts[part].weights.push(most);
            if found.parts.len() > sets.len() {
                return Self::of_each_set(&sets);
            }
        }
        // The shares were collected as (parts, sets).
        let by_part = std::mem::take(&mut found.share);
        found.share = (0..sets.len())
            .flat_map(|set| by_part.iter().skip(set).step_by(sets.len()).copied())
            .collect();
        found
    }

    /// One part for each set: bootstraps have too little in common to share any.
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

    pub(super) fn sets(&self) -> usize {
        self.share.len() / self.parts.len()
    }

    /// Parts of a set with their shares.
    fn of_set(&self, set: usize) -> impl Iterator<Item = (usize, f64)> {
        let shares = &self.share[set * self.parts.len()..][..self.parts.len()];
        (shares.iter().copied().enumerate()).filter(|(_, share)| *share > 0.0)
    }
}

/// Gram matrices of parts, each kept from the first set that needs it to the last.
pub(super) struct Grams<'a> {
    data: &'a Data<'a>,
    parts: &'a Parts,
    of_part: Vec<Option<Vec<f64>>>,
}

impl<'a> Grams<'a> {
    pub(super) fn new(data: &'a Data<'a>, parts: &'a Parts) -> Self {
        let of_part = parts.parts.iter().map(|_| None).collect();
        Self {
            data,
            parts,
            of_part,
        }
    }

    /// Covariance of the features of a set, standardised: lower triangle, column-major. Sets come in order.
    pub(super) fn covariance(
        &mut self,
        set: usize,
        workers: &Workers,
    ) -> Result<Vec<f64>, ProbeError> {
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
            let gram = kept.map_or_else(|| data.gram::<f64>(rows, weigh, workers), Ok)?;
            workers.install(|| {
                (sum.par_chunks_mut(d).zip(gram.par_chunks(d))).for_each(|(sum, gram)| {
                    sum.iter_mut().zip(gram).for_each(|(s, g)| *s += share * g);
                });
            })?;
            if (set + 1..self.parts.sets())
                .any(|later| self.parts.share[later * self.parts.parts.len() + part] > 0.0)
            {
                self.of_part[part] = Some(gram);
            }
        }
        let weight = count(data.len());
        let (mean, scale) = data.units(set);
        workers.install(|| {
            sum.par_chunks_mut(d).enumerate().for_each(|(j, column)| {
                for (i, value) in column.iter_mut().enumerate().skip(j) {
                    *value = (*value / weight - mean[i] * mean[j]) / (scale[i] * scale[j]);
                }
            });
        })?;
        Ok(sum)
    }
}

/// Sums for each part and slot: `sum w v`, `sum w v^2`, and `sum w v x` in pooled units.
pub(super) struct Sums {
    slots: usize,
    features: usize,
    /// Shape (parts, slots).
    first: Vec<f64>,
    second: Vec<f64>,
    /// Shape (parts, slots, features).
    x: Vec<f64>,
}

/// A number per row as a set sees it: its mean and variance, and its covariance with the features.
pub(super) struct Target {
    pub mean: f64,
    pub variance: f64,
    pub covariance: Vec<f64>,
}

impl Sums {
    /// `values` puts the values v of a row of X into slots.
    pub(super) fn of<T: Real>(
        data: &Data,
        parts: &Parts,
        slots: usize,
        workers: &Workers,
        values: impl Fn(usize, &mut dyn FnMut(usize, f64)) + Sync,
    ) -> Result<Self, ProbeError> {
        let d = data.features;
        let members = parts.parts.iter().enumerate().flat_map(|(part, of_part)| {
            let rows = of_part.rows.iter().zip(&of_part.weights);
            rows.map(move |(&row, &weight)| (row, part, weight))
        });
        let mut members: Vec<(usize, usize, f64)> = members.collect();
        members.sort_by_key(|&(row, ..)| row);
        let places = parts.parts.len() * slots;
        data.reduce::<T, _>(
            workers,
            || Self {
                slots,
                features: d,
                first: vec![0.0; places],
                second: vec![0.0; places],
                x: vec![0.0; places * d],
            },
            |sums, tile, x| {
                let first = members.partition_point(|&(row, ..)| row < tile.start);
                let rest = members[first..].iter();
                for &(row, part, weight) in rest.take_while(|&&(row, ..)| row < tile.end) {
                    let x = &x[(row - tile.start) * d..][..d];
                    values(data.rows[row], &mut |slot, value| {
                        let place = part * slots + slot;
                        sums.first[place] += weight * value;
                        sums.second[place] += weight * value * value;
                        kernels::run(AddScaled {
                            sum: &mut sums.x[place * d..][..d],
                            factor: weight * value,
                            x,
                        });
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
    pub(super) fn mean(&self, data: &Data, parts: &Parts, set: usize, slots: usize) -> Vec<f64> {
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
    pub(super) fn targets(&self, data: &Data, parts: &Parts, set: usize) -> Vec<Target> {
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
