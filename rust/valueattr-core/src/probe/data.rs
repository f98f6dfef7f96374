//! The data that a batch shares: which rows count, how they are standardised, and the loops over tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::error::ProbeError;
use super::kernels::{self, Pooled};
use super::linalg::{Real, Spectrum, count, gram_panel, transposed_product};
use super::rows::Rows;
use super::tiles::{CHUNKS, TILE};
use super::workers::Workers;
use crate::store::RowBuffer;

/// A feature whose variance is below this share of its mean square is constant to f32 precision.
const CONSTANT: f64 = 1e-13;
/// Rows of a Gram matrix are multiplied this many values at a time, in panels of this many columns.
const GRAM_VALUES: usize = 1 << 20;
const GRAM_PANEL: usize = 256;
/// Rows per feature that show what all rows are like.
const SAMPLE: usize = 16;
/// Rows that are enough where there are few for the features: decomposing more takes longer than it saves in steps.
const SKETCH: usize = 512;

/// Rows with a weight in some set, their weights scaled to mean 1 per set, and the moments.
///
/// A tile of X is handed out pooled: `(x - centre) / scale`, so that f32 products lose nothing to a large mean. Per
/// feature these are the least of the sets' means and scales: rows that are far out spoil the precision of no set that
/// leaves them out. `set_mean` and `set_scale` are in these pooled units.
pub(super) struct Data<'a> {
    pub x: Rows<'a>,
    /// Indices into the rows of X.
    pub rows: Vec<usize>,
    pub features: usize,
    /// Shape (sets, rows).
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
        workers: &Workers,
    ) -> Result<Self, ProbeError> {
        let mut data = Self::as_it_is(x, weights);
        let d = data.features;
        data.take_means(data.weighted_means(workers, false)?)?;
        for j in 0..d {
            let means = data.set_mean.iter().skip(j).step_by(d);
            let least = means.copied().min_by(|a, b| a.abs().total_cmp(&b.abs()));
            #[allow(clippy::cast_possible_truncation)]
            let centre = least.unwrap_or(0.0) as f32;
            data.centre[j] = centre;
            for mean in data.set_mean.iter_mut().skip(j).step_by(d) {
                *mean -= f64::from(centre);
            }
        }
        if standardize {
            data.set_scales(workers)?;
        }
        Ok(data)
    }

    /// The data as it is: neither centred nor scaled, with moments unknown.
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

    /// Scale of every weight set, and the pooled one. A constant feature keeps its own.
    fn set_scales(&mut self, workers: &Workers) -> Result<(), ProbeError> {
        let squares = self.weighted_means(workers, true)?;
        let d = self.features;
        for j in 0..d {
            let centre = f64::from(self.centre[j]);
            let mut least = f64::INFINITY;
            for k in (0..self.weight_sets()).map(|k| k * d + j) {
                let variance = squares[k] - self.set_mean[k] * self.set_mean[k];
                let constant = variance <= CONSTANT * squares[k]
                    || variance <= CONSTANT * (centre + self.set_mean[k]).powi(2);
                if !constant {
                    self.set_scale[k] = variance.sqrt();
                    least = least.min(self.set_scale[k]);
                }
            }
            // Within what f32 divides by.
            if (1e-30..1e30).contains(&least) {
                #[allow(clippy::cast_possible_truncation)]
                let inverse = least.recip() as f32;
                self.inverse_scale[j] = inverse;
                for k in (0..self.weight_sets()).map(|k| k * d + j) {
                    self.set_mean[k] *= f64::from(inverse);
                    self.set_scale[k] *= f64::from(inverse);
                }
            }
        }
        Ok(())
    }

    /// Weighted mean of the values, or of their squares, in every set: (sets, features).
    fn weighted_means(&self, workers: &Workers, squares: bool) -> Result<Vec<f64>, ProbeError> {
        let (sets, d) = (self.weight_sets(), self.features);
        let (mut sums, ..) = self.reduce::<f64, _>(
            workers,
            || (vec![0.0; sets * d], vec![0.0; sets * d], Vec::new()),
            |(sums, of_tile, squared), tile, x| {
                let weights = self.tile_weights(&tile);
                let values = if squares {
                    squared.clear();
                    squared.extend(x.iter().map(|v| v * v));
                    squared
                } else {
                    x
                };
                transposed_product(values, &weights, of_tile, tile.len());
                add(sums, of_tile);
            },
            |(sums, ..), (other, ..)| add(sums, &other),
        )?;
        for sum in &mut sums {
            *sum /= count(self.len());
        }
        Ok(sums)
    }

    /// The means of every set; an error that names the value if one in X is not finite.
    pub(super) fn take_means(&mut self, means: Vec<f64>) -> Result<(), ProbeError> {
        if !means.iter().all(|v| v.is_finite()) {
            return Err(self.first_not_finite()?);
        }
        self.set_mean = means;
        Ok(())
    }

    fn first_not_finite(&self) -> Result<ProbeError, ProbeError> {
        let mut buffer = RowBuffer::default();
        let mut found = None;
        let mut rows = self.rows.iter();
        self.x.read(&self.rows, &mut buffer, |values| {
            let row = rows.next();
            if let (None, Some(&row), Some(feature)) =
                (&found, row, values.iter().position(|v| !v.is_finite()))
            {
                found = Some(ProbeError::NotFinite {
                    row,
                    feature,
                    found: values[feature],
                });
            }
        })?;
        Ok(found.unwrap_or(ProbeError::Overflow))
    }

    /// Mean and scale of a weight set, in pooled units.
    pub(super) fn units(&self, set: usize) -> (&[f64], &[f64]) {
        let set = set * self.features..(set + 1) * self.features;
        (&self.set_mean[set.clone()], &self.set_scale[set])
    }

    /// What features are centred on and divided by, in X's own units: two arrays of shape (sets, features).
    pub(super) fn reported_units(&self) -> (Vec<f64>, Vec<f64>) {
        let pooled = || self.centre.iter().zip(&self.inverse_scale).cycle();
        let mean = (self.set_mean.iter().zip(pooled()))
            .map(|(mean, (&c, &s))| f64::from(c) + mean / f64::from(s));
        let scale =
            (self.set_scale.iter().zip(pooled())).map(|(scale, (_, &s))| scale / f64::from(s));
        (mean.collect(), scale.collect())
    }

    /// The weights of a tile's rows: shape (rows, sets), column-major.
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
        workers: &Workers,
        zero: impl Fn() -> S + Sync,
        step: impl Fn(&mut S, Range<usize>, &[T]) + Sync,
        merge: impl Fn(&mut S, S),
    ) -> Result<S, ProbeError> {
        let tiles = self.len().div_ceil(TILE);
        let chunk = tiles.div_ceil(CHUNKS).max(1) * TILE;
        let starts: Vec<usize> = (0..self.len()).step_by(chunk).collect();
        let sums: Vec<S> = workers.install(|| {
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
        })??;
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_else(&zero);
        sums.for_each(|sum| merge(&mut total, sum));
        Ok(total)
    }

    /// `sum_i x_i x_i'` over some of the rows that count: its lower triangle, column-major.
    ///
    /// `adjust` is handed the place of each in `rows` and its values in pooled units, to change them. Panels of columns
    /// are formed in parallel, so that the memory is that of the result whatever the threads.
    pub(super) fn gram<T: Real>(
        &self,
        rows: &[usize],
        adjust: impl Fn(usize, &mut [T]),
        workers: &Workers,
    ) -> Result<Vec<f64>, ProbeError> {
        let d = self.features;
        let mut gram = vec![0.0; d * d];
        let (mut buffer, mut x) = (RowBuffer::default(), Vec::<T>::new());
        let mut places = 0..rows.len();
        for block in rows.chunks((GRAM_VALUES / d).max(TILE)) {
            let of_x: Vec<usize> = block.iter().map(|&i| self.rows[i]).collect();
            self.fill(&of_x, &mut buffer, &mut x)?;
            for (values, place) in x.chunks_exact_mut(d).zip(&mut places) {
                adjust(place, values);
            }
            let panels = gram.par_chunks_mut(d * GRAM_PANEL).enumerate();
            workers.install(|| {
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
            })?;
        }
        Ok(gram)
    }

    /// The spectrum of X'X / n, from some rows that are evenly spread, each in the units of a set that it counts in.
    pub(super) fn spectrum(&self, workers: &Workers) -> Result<Spectrum, ProbeError> {
        let (n, d) = (self.len(), self.features);
        // Rows that are far out count in fewer sets than others: those have to show what the others are like.
        let mut sets: Vec<usize> = (0..self.weight_sets()).collect();
        let size = |set: usize| -> f64 {
            let (mean, scale) = self.units(set);
            (mean.iter().zip(scale))
                .map(|(mean, scale)| (mean.abs() + scale).ln())
                .sum()
        };
        sets.sort_by(|&a, &b| size(a).total_cmp(&size(b)));
        let few = n < d || (n < 2 * d && d >= 4 * SKETCH);
        let most = if few { SKETCH } else { SAMPLE * d };
        let rows: Vec<usize> = (0..n).step_by(n.div_ceil(most)).collect();
        let spectrum = if few {
            let of_x: Vec<usize> = rows.iter().map(|&i| self.rows[i]).collect();
            let (mut buffer, mut x) = (RowBuffer::default(), Vec::new());
            self.fill(&of_x, &mut buffer, &mut x)?;
            for (&row, x) in rows.iter().zip(x.chunks_exact_mut(d)) {
                self.to_units_of(self.first_of(&sets, row), x);
            }
            Spectrum::of_few_rows(&x, d)
        } else {
            let to_own_units = |place: usize, x: &mut [f32]| {
                self.to_units_of(self.first_of(&sets, rows[place]), x);
            };
            let gram = self.gram(&rows, to_own_units, workers)?;
            Spectrum::of_gram(&gram, d, count(rows.len()))
        };
        spectrum.ok_or(ProbeError::Eigen { features: d })
    }

    /// The first of `sets` in which a row counts.
    fn first_of(&self, sets: &[usize], row: usize) -> usize {
        let counts = |&&set: &&usize| self.weights[set * self.len() + row] > 0.0;
        sets.iter().find(counts).copied().unwrap_or(0)
    }

    /// Converts a row from pooled units to those of a set.
    fn to_units_of<T: Real>(&self, set: usize, x: &mut [T]) {
        let (mean, scale) = self.units(set);
        for (v, (mean, scale)) in x.iter_mut().zip(mean.iter().zip(scale)) {
            *v = T::from_f64(((*v).into() - mean) / scale);
        }
    }
}

pub(super) fn add(sum: &mut [f64], other: &[f64]) {
    sum.iter_mut().zip(other).for_each(|(s, o)| *s += o);
}

fn mean_one(set: &[f64], rows: &[usize]) -> Vec<f64> {
    let total: f64 = rows.iter().map(|&i| set[i]).sum();
    rows.iter()
        .map(|&i| set[i] * count(rows.len()) / total)
        .collect()
}
