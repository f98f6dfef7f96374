//! Loss, gradient and mean curvature of many fits in one pass over X.
//!
//! Per tile: `Z = X V`, residuals in place of Z, `G += X' R`; V holds the coefficients of all fits
//! side by side, so both products are matrix products. Tiles are f32 or f64, sums are f64.

use std::ops::Range;

use rayon::ThreadPool;

use super::data::{Data, add};
use super::linalg::{Real, product, transposed_product};

/// Which fit of the batch this is.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub l2: f64,
    pub label_set: usize,
    pub weight_set: usize,
    /// Column of each class, `None` for one without a training row; binary fits have a single column.
    pub column_of: Vec<Option<usize>>,
    pub width: usize,
}

/// The parameters where a fit is to be evaluated: per column `features` coefficients, then the intercept.
pub(super) struct Point<'a> {
    pub spec: &'a Spec,
    pub theta: &'a [f64],
}

pub(super) struct Evaluation {
    pub value: f64,
    pub gradient: Vec<f64>,
    /// Weighted mean of p(1 - p) per column: how much of X'X / n the Hessian holds.
    pub curvature: Vec<f64>,
}

#[derive(Clone)]
struct Sums {
    loss: Vec<f64>,
    residual: Vec<f64>,
    curvature: Vec<f64>,
    gradient: Vec<f64>,
}

/// One entry per point, in order.
pub(super) fn evaluate<T: Real>(
    data: &Data,
    points: &[Point],
    pool: &ThreadPool,
) -> Vec<Evaluation> {
    if points.is_empty() {
        return Vec::new();
    }
    let d = data.features;
    let (v, offsets) = pooled_coefficients::<T>(data, points);
    let columns = offsets.len();
    let sums = data.reduce(
        pool,
        || Sums {
            loss: vec![0.0; points.len()],
            residual: vec![0.0; columns],
            curvature: vec![0.0; columns],
            gradient: vec![0.0; columns * d],
        },
        |sums, tile| add_tile(data, points, &v, &offsets, sums, tile),
        |sums, other| {
            add(&mut sums.loss, &other.loss);
            add(&mut sums.residual, &other.residual);
            add(&mut sums.curvature, &other.curvature);
            add(&mut sums.gradient, &other.gradient);
        },
    );
    #[allow(clippy::cast_precision_loss)]
    let count = data.len() as f64;
    let mut column = 0;
    points
        .iter()
        .zip(&sums.loss)
        .map(|(point, loss)| {
            let spec = point.spec;
            let (mean, scale) = units(data, spec);
            let mut value = loss / count;
            let mut gradient = Vec::with_capacity(point.theta.len());
            for (k, theta) in (column..).zip(point.theta.chunks_exact(d + 1)) {
                let residual = sums.residual[k] / count;
                for j in 0..d {
                    let data_part =
                        (sums.gradient[k * d + j] / count - mean[j] * residual) / scale[j];
                    gradient.push(data_part + spec.l2 * theta[j]);
                }
                gradient.push(residual);
                value += spec.l2 / 2.0 * theta[..d].iter().map(|w| w * w).sum::<f64>();
            }
            let curvature = sums.curvature[column..column + spec.width]
                .iter()
                .map(|c| c / count)
                .collect();
            column += spec.width;
            Evaluation {
                value,
                gradient,
                curvature,
            }
        })
        .collect()
}

/// Coefficients and intercepts that apply to X in pooled units.
fn pooled_coefficients<T: Real>(data: &Data, points: &[Point]) -> (Vec<T>, Vec<f64>) {
    let d = data.features;
    let mut v = Vec::new();
    let mut offsets = Vec::new();
    for point in points {
        let (mean, scale) = units(data, point.spec);
        for theta in point.theta.chunks_exact(d + 1) {
            let mut offset = theta[d];
            for j in 0..d {
                let w = theta[j] / scale[j];
                offset -= mean[j] * w;
                v.push(T::from_f64(w));
            }
            offsets.push(offset);
        }
    }
    (v, offsets)
}

fn units<'a>(data: &'a Data, spec: &Spec) -> (&'a [f64], &'a [f64]) {
    let set = spec.weight_set * data.features..(spec.weight_set + 1) * data.features;
    (&data.set_mean[set.clone()], &data.set_scale[set])
}

fn add_tile<T: Real>(
    data: &Data,
    points: &[Point],
    v: &[T],
    offsets: &[f64],
    sums: &mut Sums,
    tile: Range<usize>,
) {
    let (rows, features) = (tile.len(), data.features);
    let x: Vec<T> = data.tile(tile.clone());
    let mut z = vec![T::from_f64(0.0); rows * offsets.len()];
    product(&x, v, &mut z, features);
    let mut column = 0;
    for (point, loss) in points.iter().zip(&mut sums.loss) {
        let spec = point.spec;
        let of_fit = column..column + spec.width;
        let block = Block {
            weights: &data.weights[spec.weight_set * data.len()..][tile.clone()],
            labels: &data.labels[spec.label_set * data.len()..][tile.clone()],
            offsets: &offsets[of_fit.clone()],
            residual: &mut sums.residual[of_fit.clone()],
            curvature: &mut sums.curvature[of_fit],
        };
        let z = &mut z[column * rows..(column + spec.width) * rows];
        *loss += if spec.width == 1 {
            block.binary(z)
        } else {
            block.softmax(z, &spec.column_of)
        };
        column += spec.width;
    }
    let mut gradient = vec![T::from_f64(0.0); offsets.len() * features];
    transposed_product(&x, &z, &mut gradient, rows);
    sums.gradient
        .iter_mut()
        .zip(&gradient)
        .for_each(|(s, g)| *s += g.to_f64());
}

/// The columns of one fit on one tile. Each method turns scores into weighted residuals and returns the loss.
struct Block<'a> {
    weights: &'a [f64],
    labels: &'a [u32],
    offsets: &'a [f64],
    residual: &'a mut [f64],
    curvature: &'a mut [f64],
}

impl Block<'_> {
    fn binary<T: Real>(self, z: &mut [T]) -> f64 {
        let mut loss = 0.0;
        for ((z, &weight), &label) in z.iter_mut().zip(self.weights).zip(self.labels) {
            if weight == 0.0 {
                *z = T::from_f64(0.0);
                continue;
            }
            let y = f64::from(label);
            let score = z.to_f64() + self.offsets[0];
            let tail = (-score.abs()).exp();
            let p = if score > 0.0 { 1.0 } else { tail } / (1.0 + tail);
            let residual = weight * (p - y);
            loss += weight * (score.max(0.0) + tail.ln_1p() - y * score);
            self.residual[0] += residual;
            self.curvature[0] += weight * p * (1.0 - p);
            *z = T::from_f64(residual);
        }
        loss
    }

    fn softmax<T: Real>(self, z: &mut [T], column_of: &[Option<usize>]) -> f64 {
        let (rows, width) = (self.weights.len(), self.offsets.len());
        let mut p = vec![0.0; width];
        let mut loss = 0.0;
        for (i, (&weight, &label)) in self.weights.iter().zip(self.labels).enumerate() {
            let Some(own) = column_of[label as usize].filter(|_| weight > 0.0) else {
                (0..width).for_each(|c| z[c * rows + i] = T::from_f64(0.0));
                continue;
            };
            for (c, p) in p.iter_mut().enumerate() {
                *p = z[c * rows + i].to_f64() + self.offsets[c];
            }
            let largest = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let own_score = p[own];
            for p in &mut p {
                *p = (*p - largest).exp();
            }
            let total: f64 = p.iter().sum();
            loss += weight * (largest + total.ln() - own_score);
            for (c, p) in p.iter().enumerate() {
                let p = p / total;
                let residual = weight * (p - f64::from(u8::from(own == c)));
                self.residual[c] += residual;
                self.curvature[c] += weight * p * (1.0 - p);
                z[c * rows + i] = T::from_f64(residual);
            }
        }
        loss
    }
}
