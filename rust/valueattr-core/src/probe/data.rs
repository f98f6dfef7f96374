//! The shared data of a batch: which rows count, how they are standardised, and the tile loop.

use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::linalg::{Real, Spectrum, gram_lower, transposed_product};
use super::{ProbeError, Problem};

const TILE: usize = 256;
/// Sums are formed per chunk and added in order; the number of chunks never depends on the threads.
const CHUNKS: usize = 16;
/// A feature whose variance is below this share of its mean square is constant to f32 precision.
const CONSTANT: f64 = 1e-13;

/// How many threads have something to do.
pub(super) fn chunks(rows: usize) -> usize {
    rows.div_ceil(TILE).clamp(1, CHUNKS)
}

/// Rows with a weight in some set, their weights scaled to mean 1 per set, and the moments.
///
/// A tile of X is handed out pooled: `(x - mean) / scale` over all sets, so that f32 products
/// lose nothing to a large mean. `set_mean` and `set_scale` are in these pooled units.
pub(super) struct Data<'a> {
    x: &'a [f32],
    rows: Vec<usize>,
    pub features: usize,
    pub weights: Vec<f64>,
    pub labels: Vec<u32>,
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
    pub set_mean: Vec<f64>,
    pub set_scale: Vec<f64>,
}

impl<'a> Data<'a> {
    pub(super) fn new(
        problem: &Problem<'a>,
        standardize: bool,
        pool: &ThreadPool,
    ) -> Result<Self, ProbeError> {
        let (n, d) = (problem.rows(), problem.features);
        let ones = vec![1.0; n];
        let weights = problem.weights.unwrap_or(&ones);
        let rows: Vec<usize> = (0..n)
            .filter(|&i| weights.chunks_exact(n).any(|set| set[i] > 0.0))
            .collect();
        let mut data = Self {
            x: problem.x,
            features: d,
            weights: weights
                .chunks_exact(n)
                .flat_map(|set| mean_one(set, &rows))
                .collect(),
            labels: problem
                .labels
                .chunks_exact(n)
                .flat_map(|set| rows.iter().map(|&i| set[i]))
                .collect(),
            rows,
            mean: vec![0.0; d],
            scale: vec![1.0; d],
            set_mean: Vec::new(),
            set_scale: Vec::new(),
        };
        data.mean = data.pooled_mean(pool)?;
        data.set_moments(standardize, pool);
        Ok(data)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn weight_sets(&self) -> usize {
        self.weights.len() / self.len()
    }

    /// Mean over rows and weight sets; also the one look at every value that has to be finite.
    fn pooled_mean(&self, pool: &ThreadPool) -> Result<Vec<f64>, ProbeError> {
        let (n, d, sets) = (self.len(), self.features, self.weight_sets());
        let sums = self.reduce(
            pool,
            || (vec![0.0; d], None),
            |(sum, bad), tile| {
                for i in tile {
                    let weight: f64 = (0..sets).map(|k| self.weights[k * n + i]).sum();
                    let row = &self.x[self.rows[i] * d..][..d];
                    for (total, &value) in sum.iter_mut().zip(row) {
                        *total += weight * f64::from(value);
                    }
                    if bad.is_none() {
                        *bad = row
                            .iter()
                            .position(|v| !v.is_finite())
                            .map(|j| (self.rows[i], j));
                    }
                }
            },
            |(sum, bad), (other_sum, other_bad)| {
                add(sum, &other_sum);
                *bad = bad.or(other_bad);
            },
        );
        if let (_, Some((row, feature))) = sums {
            return Err(ProbeError::NotFinite {
                row,
                feature,
                found: self.x[row * d + feature],
            });
        }
        #[allow(clippy::cast_precision_loss)]
        let count = (n * sets) as f64;
        Ok(sums.0.into_iter().map(|s| s / count).collect())
    }

    /// Mean and scale of every weight set, and the pooled scale.
    fn set_moments(&mut self, standardize: bool, pool: &ThreadPool) {
        let (n, d, sets) = (self.len(), self.features, self.weight_sets());
        let (first, second) = self.reduce(
            pool,
            || (vec![0.0; sets * d], vec![0.0; sets * d]),
            |(first, second), tile| {
                let mut x: Vec<f64> = self.tile(tile.clone());
                let weights: Vec<f64> = (0..sets)
                    .flat_map(|k| &self.weights[k * n + tile.start..k * n + tile.end])
                    .copied()
                    .collect();
                let mut sums = vec![0.0; sets * d];
                transposed_product(&x, &weights, &mut sums, tile.len());
                add(first, &sums);
                for v in &mut x {
                    *v *= *v;
                }
                transposed_product(&x, &weights, &mut sums, tile.len());
                add(second, &sums);
            },
            |(first, second), (other_first, other_second)| {
                add(first, &other_first);
                add(second, &other_second);
            },
        );
        #[allow(clippy::cast_precision_loss)]
        let count = n as f64;
        self.set_mean = first.into_iter().map(|s| s / count).collect();
        self.set_scale = vec![1.0; sets * d];
        if !standardize {
            return;
        }
        for j in 0..d {
            let square = (0..sets).map(|k| second[k * d + j]).sum::<f64>();
            #[allow(clippy::cast_precision_loss)]
            let variance = square / (count * sets as f64);
            if variance > CONSTANT * self.mean[j] * self.mean[j] {
                self.scale[j] = variance.sqrt();
            }
            for k in (0..sets).map(|k| k * d + j) {
                let variance = second[k] / count - self.set_mean[k] * self.set_mean[k];
                let constant = variance <= CONSTANT * second[k] / count
                    || variance <= CONSTANT * (self.mean[j] + self.set_mean[k]).powi(2);
                let scale = if constant { 1.0 } else { variance.sqrt() };
                self.set_mean[k] /= self.scale[j];
                self.set_scale[k] = scale / self.scale[j];
            }
        }
    }

    /// Rows of the tile in pooled units, row-major.
    pub(super) fn tile<T: Real>(&self, tile: Range<usize>) -> Vec<T> {
        let units: Vec<(f64, f64)> = self
            .mean
            .iter()
            .zip(&self.scale)
            .map(|(&m, s)| (m, 1.0 / s))
            .collect();
        let mut out = Vec::with_capacity(tile.len() * self.features);
        for i in tile {
            let row = &self.x[self.rows[i] * self.features..][..self.features];
            out.extend(
                row.iter()
                    .zip(&units)
                    .map(|(&v, (m, s))| T::from_f64((f64::from(v) - m) * s)),
            );
        }
        out
    }

    /// Eigendecomposition of the pooled Gram matrix X'X / n; `None` if it does not converge.
    pub(super) fn spectrum(&self, pool: &ThreadPool) -> Option<Spectrum> {
        let d = self.features;
        let mut gram = self.reduce(
            pool,
            || vec![0.0; d * d],
            |gram, tile| {
                let mut block = vec![0.0; d * d];
                gram_lower(&self.tile(tile), &mut block, d);
                gram.iter_mut()
                    .zip(&block)
                    .for_each(|(g, &b)| *g += f64::from(b));
            },
            |gram, other| add(gram, &other),
        );
        #[allow(clippy::cast_precision_loss)]
        let count = self.len() as f64;
        for g in &mut gram {
            *g /= count;
        }
        Spectrum::of(&gram, d)
    }

    /// Fold tiles of rows into sums: chunks in parallel, tiles and chunks each in order.
    pub(super) fn reduce<S: Send>(
        &self,
        pool: &ThreadPool,
        zero: impl Fn() -> S + Sync,
        step: impl Fn(&mut S, Range<usize>) + Sync,
        merge: impl Fn(&mut S, S),
    ) -> S {
        let tiles = self.len().div_ceil(TILE);
        let chunk = tiles.div_ceil(CHUNKS).max(1) * TILE;
        let starts: Vec<usize> = (0..self.len()).step_by(chunk).collect();
        let sums: Vec<S> = pool.install(|| {
            starts
                .par_iter()
                .map(|&start| {
                    let mut sum = zero();
                    let end = (start + chunk).min(self.len());
                    for tile in (start..end).step_by(TILE) {
                        step(&mut sum, tile..(tile + TILE).min(end));
                    }
                    sum
                })
                .collect()
        });
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_else(&zero);
        sums.for_each(|sum| merge(&mut total, sum));
        total
    }
}

pub(super) fn add(sum: &mut [f64], other: &[f64]) {
    sum.iter_mut().zip(other).for_each(|(s, o)| *s += o);
}

#[allow(clippy::cast_precision_loss)]
fn mean_one(set: &[f64], rows: &[usize]) -> Vec<f64> {
    let total: f64 = rows.iter().map(|&i| set[i]).sum();
    rows.iter()
        .map(|&i| set[i] * rows.len() as f64 / total)
        .collect()
}
