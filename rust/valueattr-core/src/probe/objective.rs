//! Loss, gradient and mean curvature of many fits in one pass over X.
//!
//! Per tile: `Z = X V`, residuals in place of Z, `G += X' R`; V holds the coefficients of all fits
//! side by side, so both products are matrix products. Tiles are f32 or f64, sums are f64.

use std::ops::Range;

use super::data::{Data, add};
use super::error::ProbeError;
use super::kernels::{self, Binary, Softmax};
use super::linalg::{Real, count, product, transposed_product};
use super::problem::Spec;
use super::workers::Workers;

/// The data that all fits read.
pub(super) struct Batch<'a> {
    pub data: &'a Data<'a>,
    /// Shape (label sets, rows that count).
    pub labels: &'a [u32],
}

/// The parameters where a fit is to be evaluated: per column `features` coefficients, then the intercept.
pub(super) struct Point<'a> {
    pub spec: &'a Spec,
    pub theta: &'a [f64],
}

pub(super) struct Evaluation {
    pub value: f64,
    pub gradient: Vec<f64>,
    /// Weighted mean of diag(p) - p p', (width, width) by its lower triangle: how much of X'X / n the Hessian holds.
    pub curvature: Vec<f64>,
}

/// What the fits add up over tiles, and the scratch memory of one.
struct Totals<T> {
    loss: Vec<f64>,
    /// Shape (columns,).
    residual: Vec<f64>,
    /// For each point a matrix of shape (width, width).
    curvature: Vec<f64>,
    /// Shape (columns, features).
    gradient: Vec<f64>,
    /// For one tile the scores, which residuals then replace, of shape (columns, rows); and their product with X.
    z: Vec<T>,
    product: Vec<T>,
}

/// One entry per point, in order.
pub(super) fn evaluate<T: Real>(
    batch: &Batch,
    points: &[Point],
    workers: &Workers,
) -> Result<Vec<Evaluation>, ProbeError> {
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let (data, d) = (batch.data, batch.data.features);
    let (v, offsets) = pooled_coefficients::<T>(data, points);
    let columns = offsets.len();
    let sums = data.reduce(
        workers,
        || Totals {
            loss: vec![0.0; points.len()],
            residual: vec![0.0; columns],
            curvature: vec![0.0; points.iter().map(|p| p.spec.width * p.spec.width).sum()],
            gradient: vec![0.0; columns * d],
            z: Vec::new(),
            product: vec![T::from_f64(0.0); columns * d],
        },
        |sums, tile, x| add_tile(batch, points, &v, &offsets, sums, &tile, x),
        |sums, other| {
            add(&mut sums.loss, &other.loss);
            add(&mut sums.residual, &other.residual);
            add(&mut sums.curvature, &other.curvature);
            add(&mut sums.gradient, &other.gradient);
        },
    )?;
    let rows = count(data.len());
    let mut columns = sums.residual.iter().zip(sums.gradient.chunks_exact(d));
    let mut curvature = sums.curvature.iter().map(|c| c / rows);
    let each = points.iter().zip(&sums.loss).map(|(point, loss)| {
        let l2 = point.spec.l2;
        let (mean, scale) = data.units(point.spec.weight_set);
        let mut at = Evaluation {
            value: loss / rows,
            gradient: Vec::with_capacity(point.theta.len()),
            curvature: (&mut curvature)
                .take(point.spec.width * point.spec.width)
                .collect(),
        };
        for (theta, (residual, sums)) in point.theta.chunks_exact(d + 1).zip(&mut columns) {
            let residual = residual / rows;
            at.gradient.extend(
                (0..d).map(|j| (sums[j] / rows - mean[j] * residual) / scale[j] + l2 * theta[j]),
            );
            at.gradient.push(residual);
            at.value += l2 / 2.0 * theta[..d].iter().map(|w| w * w).sum::<f64>();
        }
        at
    });
    Ok(each.collect())
}

/// Coefficients and intercepts that apply to X in pooled units.
fn pooled_coefficients<T: Real>(data: &Data, points: &[Point]) -> (Vec<T>, Vec<f64>) {
    let d = data.features;
    let mut v = Vec::new();
    let mut offsets = Vec::new();
    for point in points {
        let (mean, scale) = data.units(point.spec.weight_set);
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

fn add_tile<T: Real>(
    batch: &Batch,
    points: &[Point],
    v: &[T],
    offsets: &[f64],
    sums: &mut Totals<T>,
    tile: &Range<usize>,
    x: &[T],
) {
    let (data, rows) = (batch.data, tile.len());
    sums.z.resize(rows * offsets.len(), T::from_f64(0.0));
    product(x, v, &mut sums.z, data.features);
    let mut columns = 0..0;
    let mut curvatures = &mut sums.curvature[..];
    for (point, loss) in points.iter().zip(&mut sums.loss) {
        let spec = point.spec;
        columns = columns.end..columns.end + spec.width;
        let weights = &data.weights[spec.weight_set * data.len()..][tile.clone()];
        let labels = &batch.labels[spec.label_set * data.len()..][tile.clone()];
        let z = &mut sums.z[columns.start * rows..columns.end * rows];
        let offsets = &offsets[columns.clone()];
        let residuals = &mut sums.residual[columns.clone()];
        let (curvature, rest) = curvatures.split_at_mut(spec.width * spec.width);
        curvatures = rest;
        *loss += if spec.width == 1 {
            kernels::run(Binary {
                z,
                weights,
                labels,
                column_of: &spec.column_of,
                offset: offsets[0],
                residual: &mut residuals[0],
                curvature: &mut curvature[0],
            })
        } else {
            kernels::run(Softmax {
                z,
                weights,
                labels,
                column_of: &spec.column_of,
                offsets,
                residuals,
                curvature,
            })
        };
    }
    transposed_product(x, &sums.z, &mut sums.product, rows);
    for (sum, &product) in sums.gradient.iter_mut().zip(&sums.product) {
        *sum += product.into();
    }
}
