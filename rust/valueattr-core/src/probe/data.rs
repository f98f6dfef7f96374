//! The data that a batch shares: which rows count, how they are standardised, and the loops over tiles.

use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::kernels::{self, AddScaled, Pooled};
use super::linalg::{Real, Spectrum, gram_panel, transposed_product};
use super::{ProbeError, Rows};
use crate::store::RowBuffer;

const TILE: usize = 256;
/// Sums are formed per chunk and added in order; the number of chunks never depends on the threads.
const CHUNKS: usize = 16;
/// A feature whose variance is below this share of its mean square is constant to f32 precision.
const CONSTANT: f64 = 1e-13;
/// Rows of a Gram matrix are multiplied this many values at a time, in panels of this many columns.
const GRAM_VALUES: usize = 1 << 23;
const GRAM_PANEL: usize = 256;
/// Products that f64 does in a few hundredths of a second.
const SMALL: usize = 1 << 30;

/// How many threads have something to do.
pub(super) fn chunks(rows: usize) -> usize {
    rows.div_ceil(TILE).clamp(1, CHUNKS)
}

/// Rows with a weight in some set, their weights scaled to mean 1 per set, and the moments.
///
/// A tile of X is handed out pooled: `(x - centre) / scale` over all sets, so that f32 products lose nothing to a large
/// mean. `set_mean` and `set_scale` are in these pooled units.
pub(super) struct Data<'a> {
    pub x: Rows<'a>,
    /// Of X.
    pub rows: Vec<usize>,
    pub features: usize,
    /// (sets, rows).
    pub weights: Vec<f64>,
    centre: Vec<f32>,
    inverse_scale: Vec<f32>,
    pub set_mean: Vec<f64>,
    pub set_scale: Vec<f64>,
}

impl<'a> Data<'a> {
    pub(super) fn new(
        x: Rows<'a>,
        weights: &[f64],
        standardize: bool,
        pool: &ThreadPool,
    ) -> Result<Self, ProbeError> {
        let mut data = Self::as_it_is(x, weights);
        data.centre = data.pooled_mean(pool)?;
        data.set_moments(standardize, pool)?;
        Ok(data)
    }

    /// Neither centred nor scaled, moments unknown.
    pub(super) fn as_it_is(x: Rows<'a>, weights: &[f64]) -> Self {
        let (n, d) = (x.len(), x.features());
        let rows: Vec<usize> = (0..n)
            .filter(|&i| weights.chunks_exact(n).any(|set| set[i] > 0.0))
            .collect();
        let weights: Vec<f64> = (weights.chunks_exact(n))
            .flat_map(|set| mean_one(set, &rows))
            .collect();
        Self {
            x,
            features: d,
            set_mean: Vec::new(),
            set_scale: vec![1.0; weights.len() / rows.len().max(1) * d],
            weights,
            rows,
            centre: vec![0.0; d],
            inverse_scale: vec![1.0; d],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn weight_sets(&self) -> usize {
        self.weights.len() / self.len()
    }

    /// The entries of `values`, one per row of X, of the rows that count.
    pub(super) fn of_rows<T: Copy>(&self, values: &[T]) -> impl Iterator<Item = T> {
        self.rows.iter().map(|&i| values[i])
    }

    /// Mean over rows and weight sets; also the one look at every value that has to be finite.
    pub(super) fn pooled_mean(&self, pool: &ThreadPool) -> Result<Vec<f32>, ProbeError> {
        let (n, d, sets) = (self.len(), self.features, self.weight_sets());
        let (sum, bad) = self.reduce::<f32, _>(
            pool,
            || (vec![0.0; d], None),
            |(sum, bad), tile, x| {
                for (i, row) in tile.zip(x.chunks_exact(d)) {
                    let weight: f64 = (0..sets).map(|k| self.weights[k * n + i]).sum();
                    kernels::run(AddScaled {
                        sum,
                        factor: weight,
                        x: row,
                    });
                    if bad.is_none() {
                        *bad = (row.iter().position(|v| !v.is_finite())).map(|feature| {
                            ProbeError::NotFinite {
                                row: self.rows[i],
                                feature,
                                found: row[feature],
                            }
                        });
                    }
                }
            },
            |(sum, bad), (other_sum, other_bad)| {
                add(sum, &other_sum);
                *bad = bad.take().or(other_bad);
            },
        )?;
        if let Some(error) = bad {
            return Err(error);
        }
        let count = count(n * sets);
        #[allow(clippy::cast_possible_truncation)]
        Ok(sum.into_iter().map(|s| (s / count) as f32).collect())
    }

    /// Mean and scale of every weight set, and the pooled scale.
    fn set_moments(&mut self, standardize: bool, pool: &ThreadPool) -> Result<(), ProbeError> {
        let (n, d, sets) = (self.len(), self.features, self.weight_sets());
        let (first, second) = self.reduce::<f64, _>(
            pool,
            || (vec![0.0; sets * d], vec![0.0; sets * d]),
            |(first, second), tile, x| {
                let weights = self.tile_weights(&tile);
                let mut sums = vec![0.0; sets * d];
                transposed_product(x, &weights, &mut sums, tile.len());
                add(first, &sums);
                if standardize {
                    let squares: Vec<f64> = x.iter().map(|v| v * v).collect();
                    transposed_product(&squares, &weights, &mut sums, tile.len());
                    add(second, &sums);
                }
            },
            |(first, second), (other_first, other_second)| {
                add(first, &other_first);
                add(second, &other_second);
            },
        )?;
        self.set_mean = first.into_iter().map(|s| s / count(n)).collect();
        if !standardize {
            return Ok(());
        }
        for j in 0..d {
            let centre = f64::from(self.centre[j]);
            let square = (0..sets).map(|k| second[k * d + j]).sum::<f64>();
            let variance = square / count(n * sets);
            if variance > CONSTANT * centre * centre {
                #[allow(clippy::cast_possible_truncation)]
                let inverse = variance.sqrt().recip() as f32;
                self.inverse_scale[j] = inverse;
            }
            let inverse = f64::from(self.inverse_scale[j]);
            for k in (0..sets).map(|k| k * d + j) {
                let square = second[k] / count(n);
                let variance = square - self.set_mean[k] * self.set_mean[k];
                let constant = variance <= CONSTANT * square
                    || variance <= CONSTANT * (centre + self.set_mean[k]).powi(2);
                let scale = if constant { 1.0 } else { variance.sqrt() };
                self.set_mean[k] *= inverse;
                self.set_scale[k] = scale * inverse;
            }
        }
        Ok(())
    }

    /// Mean and scale of a weight set, in pooled units.
    pub(super) fn units(&self, set: usize) -> (&[f64], &[f64]) {
        let set = set * self.features..(set + 1) * self.features;
        (&self.set_mean[set.clone()], &self.set_scale[set])
    }

    /// (sets, features) each: what features are centred on and divided by, in X's own units.
    pub(super) fn reported_units(&self) -> (Vec<f64>, Vec<f64>) {
        let pooled = || self.centre.iter().zip(&self.inverse_scale).cycle();
        let mean = (self.set_mean.iter().zip(pooled()))
            .map(|(mean, (&c, &s))| f64::from(c) + mean / f64::from(s));
        let scale =
            (self.set_scale.iter().zip(pooled())).map(|(scale, (_, &s))| scale / f64::from(s));
        (mean.collect(), scale.collect())
    }

    /// (rows, sets) of a tile, column-major.
    fn tile_weights(&self, tile: &Range<usize>) -> Vec<f64> {
        let sets = self.weights.chunks_exact(self.len());
        sets.flat_map(|set| &set[tile.clone()]).copied().collect()
    }

    /// Some rows in pooled units, row-major, in place of what `out` held.
    fn fill<T: Real>(
        &self,
        rows: &[usize],
        buffer: &mut RowBuffer,
        out: &mut Vec<T>,
    ) -> Result<(), ProbeError> {
        out.resize(rows.len() * self.features, T::from_f64(0.0));
        let mut places = out.chunks_exact_mut(self.features);
        self.x.read(rows, buffer, |row| {
            if let Some(out) = places.next() {
                kernels::run(Pooled {
                    out,
                    row,
                    centre: &self.centre,
                    inverse_scale: &self.inverse_scale,
                });
            }
        })
    }

    /// Fold tiles of rows, in pooled units, into sums: chunks in parallel, tiles and chunks each in order.
    pub(super) fn reduce<T: Real, S: Send>(
        &self,
        pool: &ThreadPool,
        zero: impl Fn() -> S + Sync,
        step: impl Fn(&mut S, Range<usize>, &[T]) + Sync,
        merge: impl Fn(&mut S, S),
    ) -> Result<S, ProbeError> {
        let tiles = self.len().div_ceil(TILE);
        let chunk = tiles.div_ceil(CHUNKS).max(1) * TILE;
        let starts: Vec<usize> = (0..self.len()).step_by(chunk).collect();
        let sums: Vec<S> = pool.install(|| {
            starts
                .par_iter()
                .map(|&start| {
                    let mut sum = zero();
                    let (mut buffer, mut x) = (RowBuffer::default(), Vec::new());
                    let end = (start + chunk).min(self.len());
                    for tile in (start..end).step_by(TILE) {
                        let tile = tile..(tile + TILE).min(end);
                        self.fill(&self.rows[tile.clone()], &mut buffer, &mut x)?;
                        step(&mut sum, tile, &x);
                    }
                    Ok(sum)
                })
                .collect::<Result<_, ProbeError>>()
        })?;
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_else(&zero);
        sums.for_each(|sum| merge(&mut total, sum));
        Ok(total)
    }

    /// `sum_i w_i x_i x_i'` over some of the rows that count, in pooled units: its lower triangle, column-major.
    ///
    /// Products are f64 where that costs next to nothing. Panels of columns are formed in parallel, so that the memory is that of the result whatever the threads.
    pub(super) fn gram(
        &self,
        rows: &[usize],
        weights: &[f64],
        pool: &ThreadPool,
    ) -> Result<Vec<f64>, ProbeError> {
        if rows.len() * self.features * self.features <= SMALL {
            self.gram_of::<f64>(rows, weights, pool)
        } else {
            self.gram_of::<f32>(rows, weights, pool)
        }
    }

    fn gram_of<T: Real>(
        &self,
        rows: &[usize],
        weights: &[f64],
        pool: &ThreadPool,
    ) -> Result<Vec<f64>, ProbeError> {
        let d = self.features;
        let mut gram = vec![0.0; d * d];
        let (mut buffer, mut x) = (RowBuffer::default(), Vec::<T>::new());
        let at_once = (GRAM_VALUES / d).max(TILE);
        for (block, weights) in rows.chunks(at_once).zip(weights.chunks(at_once)) {
            let block: Vec<usize> = block.iter().map(|&i| self.rows[i]).collect();
            self.fill(&block, &mut buffer, &mut x)?;
            for (row, weight) in x.chunks_exact_mut(d).zip(weights) {
                let root = weight.sqrt();
                for v in row {
                    *v = T::from_f64((*v).into() * root);
                }
            }
            let panels = gram.par_chunks_mut(d * GRAM_PANEL).enumerate();
            pool.install(|| {
                panels.for_each(|(panel, sums)| {
                    let from = panel * GRAM_PANEL;
                    let to = (from + GRAM_PANEL).min(d);
                    let mut products = vec![T::from_f64(0.0); (d - from) * (to - from)];
                    gram_panel(&x, d, from, to, &mut products);
                    for (sums, products) in sums
                        .chunks_exact_mut(d)
                        .zip(products.chunks_exact(d - from))
                    {
                        let below = sums[from..].iter_mut().zip(products);
                        below.for_each(|(sum, &product)| *sum += product.into());
                    }
                });
            });
        }
        Ok(gram)
    }

    /// Of X'X / n in pooled units, from `most` rows or fewer, evenly spread.
    pub(super) fn spectrum(&self, most: usize, pool: &ThreadPool) -> Result<Spectrum, ProbeError> {
        let d = self.features;
        let step = self.len().div_ceil(most);
        let rows: Vec<usize> = (0..self.len()).step_by(step).collect();
        let spectrum = if rows.len() < d {
            let rows: Vec<usize> = rows.iter().map(|&i| self.rows[i]).collect();
            let (mut buffer, mut x) = (RowBuffer::default(), Vec::new());
            self.fill(&rows, &mut buffer, &mut x)?;
            Spectrum::of_few_rows(&x, d)
        } else {
            let share = count(rows.len()).recip();
            Spectrum::of_gram(
                &self.gram_of::<f32>(&rows, &vec![share; rows.len()], pool)?,
                d,
            )
        };
        spectrum.ok_or(ProbeError::Eigen { features: d })
    }
}

pub(super) fn add(sum: &mut [f64], other: &[f64]) {
    sum.iter_mut().zip(other).for_each(|(s, o)| *s += o);
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn count(rows: usize) -> f64 {
    rows as f64
}

fn mean_one(set: &[f64], rows: &[usize]) -> Vec<f64> {
    let total: f64 = rows.iter().map(|&i| set[i]).sum();
    rows.iter()
        .map(|&i| set[i] * count(rows.len()) / total)
        .collect()
}
