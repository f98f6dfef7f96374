//! From scores to log-loss and residuals, a block of rows at a time.
//!
//! Plain loops over arrays, which the compiler turns into whatever vectors the machine has. Sums stand in eight lanes
//! that are added in a fixed order, and nothing is fused: every machine gives the same bits.

// A function that is compiled for the machine's vectors must have all its parts inlined into it.
#![allow(clippy::inline_always)]

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

use pulp::{Arch, NullaryFnOnce};

use super::linalg::Real;

const ROWS: usize = 64;
type Block = [f64; ROWS];

/// Scores of the second of two classes, less `offset`, become weighted residuals w (p - y). Added up: those, and w p (1 - p).
pub(super) struct Binary<'a, T> {
    pub z: &'a mut [T],
    pub weights: &'a [f64],
    pub labels: &'a [u32],
    /// A label's column: 0 or 1, or none for one that does not count.
    pub column_of: &'a [Option<usize>],
    pub offset: f64,
    pub residual: &'a mut f64,
    pub curvature: &'a mut f64,
}

/// Scores (classes, rows), less `offsets`, become weighted residuals w (p - y). Added up: those, and for each pair of
/// classes the lower triangle of w (diag(p) - p p').
pub(super) struct Softmax<'a, T> {
    pub z: &'a mut [T],
    pub weights: &'a [f64],
    pub labels: &'a [u32],
    /// A label's column, none for one that does not count.
    pub column_of: &'a [Option<usize>],
    pub offsets: &'a [f64],
    pub residuals: &'a mut [f64],
    pub curvature: &'a mut [f64],
}

/// `out = (row - centre) * inverse_scale`.
pub(super) struct Pooled<'a, T> {
    pub out: &'a mut [T],
    pub row: &'a [f32],
    pub centre: &'a [f32],
    pub inverse_scale: &'a [f32],
}

/// `sum += factor * x`.
pub(super) struct AddScaled<'a, T> {
    pub sum: &'a mut [f64],
    pub factor: f64,
    pub x: &'a [T],
}

/// Runs a kernel with the machine's vectors. Those of scores give the weighted loss.
pub(super) fn run<T>(kernel: impl NullaryFnOnce<Output = T>) -> T {
    Arch::new().dispatch(kernel)
}

impl<T: Real> NullaryFnOnce for Binary<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let mut total = 0.0;
        let blocks = self.z.chunks_mut(ROWS).zip(self.weights.chunks(ROWS));
        for ((z, weights), labels) in blocks.zip(self.labels.chunks(ROWS)) {
            let (mut p, w, mut y) = (load(z), load(weights), [0.0; ROWS]);
            for (y, &label) in y.iter_mut().zip(labels) {
                *y = if self.column_of[label as usize] == Some(1) {
                    1.0
                } else {
                    0.0
                };
            }
            let (mut loss, mut curvature) = ([0.0; ROWS], [0.0; ROWS]);
            for i in 0..ROWS {
                let score = p[i] + self.offset;
                let tail = exp(-score.abs());
                let inverse = 1.0 / (1.0 + tail);
                let of_1 = if score > 0.0 { inverse } else { tail * inverse };
                loss[i] = weighted(w[i], score.max(0.0) + ln_1p(tail) - y[i] * score);
                curvature[i] = weighted(w[i], of_1 * (1.0 - of_1));
                p[i] = weighted(w[i], of_1 - y[i]);
            }
            total += sum(&loss);
            *self.residual += sum(&p);
            *self.curvature += sum(&curvature);
            store(z, &p);
        }
        total
    }
}

impl<T: Real> NullaryFnOnce for Softmax<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let rows = self.weights.len();
        let mut total = 0.0;
        let mut p = vec![[0.0; ROWS]; self.offsets.len()];
        for start in (0..rows).step_by(ROWS) {
            let end = (start + ROWS).min(rows);
            let mut w = load(&self.weights[start..end]);
            let mut own = [usize::MAX; ROWS];
            for (i, &label) in self.labels[start..end].iter().enumerate() {
                match self.column_of[label as usize] {
                    Some(column) => own[i] = column,
                    None => w[i] = 0.0,
                }
            }
            let (mut largest, mut own_score) = ([f64::NEG_INFINITY; ROWS], [0.0; ROWS]);
            let columns = p.iter_mut().zip(self.z.chunks(rows)).zip(self.offsets);
            for (column, ((p, z), offset)) in columns.enumerate() {
                *p = load(&z[start..end]);
                for i in 0..ROWS {
                    p[i] += offset;
                    largest[i] = largest[i].max(p[i]);
                    own_score[i] = if own[i] == column { p[i] } else { own_score[i] };
                }
            }
            let mut all = [0.0; ROWS];
            for p in &mut p {
                for i in 0..ROWS {
                    p[i] = exp(p[i] - largest[i]);
                    all[i] += p[i];
                }
            }
            let mut loss = [0.0; ROWS];
            for i in 0..ROWS {
                loss[i] = weighted(w[i], largest[i] + all[i].ln() - own_score[i]);
            }
            total += sum(&loss);
            for p in &mut p {
                for i in 0..ROWS {
                    p[i] /= all[i];
                }
            }
            for (c, of_class) in p.iter().enumerate() {
                let mut product = [0.0; ROWS];
                for (other, of_other) in p[..=c].iter().enumerate() {
                    let own = if other == c { 1.0 } else { 0.0 };
                    for i in 0..ROWS {
                        product[i] = weighted(w[i], of_class[i] * (own - of_other[i]));
                    }
                    self.curvature[c * p.len() + other] += sum(&product);
                }
            }
            let columns = p.iter_mut().zip(self.z.chunks_mut(rows));
            for (column, ((p, z), total)) in columns.zip(&mut *self.residuals).enumerate() {
                for i in 0..ROWS {
                    let y = if own[i] == column { 1.0 } else { 0.0 };
                    p[i] = weighted(w[i], p[i] - y);
                }
                *total += sum(p);
                store(&mut z[start..end], p);
            }
        }
        total
    }
}

impl<T: Real> NullaryFnOnce for Pooled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let units = self.centre.iter().zip(self.inverse_scale);
        for ((out, &v), (&centre, &inverse_scale)) in self.out.iter_mut().zip(self.row).zip(units) {
            *out = T::pooled(v, centre, inverse_scale);
        }
    }
}

impl<T: Real> NullaryFnOnce for AddScaled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (sum, &x) in self.sum.iter_mut().zip(self.x) {
            *sum += self.factor * x.into();
        }
    }
}

/// A row that does not count has no part even where its value is not finite.
#[inline(always)]
fn weighted(weight: f64, value: f64) -> f64 {
    if weight > 0.0 { weight * value } else { 0.0 }
}

/// e^x for x <= 0, to 2 ulp; 0 below -708. NaN stays NaN.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding 1.5 * 2^52 leaves the rounded integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts, so that k times the first is exact.
    const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const FACTORIALS: [f64; 13] = [
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5_040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
        1.0,
        1.0,
    ];
    let within = if x < -708.0 { -708.0 } else { x };
    let shifted = within * LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = within - k * LN_2_HIGH - k * LN_2_LOW;
    let mut sum = 1.0 / 6_227_020_800.0;
    for factorial in FACTORIALS {
        sum = sum * r + 1.0 / factorial;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    if x < -708.0 { 0.0 } else { sum * power }
}

/// ln(1 + t) for t from 0 to 1, to 2 ulp: 2 artanh(t / (2 + t)).
#[inline(always)]
fn ln_1p(t: f64) -> f64 {
    let large = t > SQRT_2 - 1.0;
    let t = if large { (t - 1.0) / 2.0 } else { t };
    let s = t / (2.0 + t);
    let square = s * s;
    let mut sum = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    2.0 * s * sum + if large { LN_2 } else { 0.0 }
}

/// Loads a block, filled up with zeros.
#[inline(always)]
fn load<T: Copy + Into<f64>>(from: &[T]) -> Block {
    let mut block = [0.0; ROWS];
    block
        .iter_mut()
        .zip(from)
        .for_each(|(to, &from)| *to = from.into());
    block
}

#[inline(always)]
fn store<T: Real>(to: &mut [T], block: &Block) {
    to.iter_mut()
        .zip(block)
        .for_each(|(to, &from)| *to = T::from_f64(from));
}

#[inline(always)]
fn sum(block: &Block) -> f64 {
    let mut lanes = [0.0; 8];
    for values in block.as_chunks::<8>().0 {
        lanes
            .iter_mut()
            .zip(values)
            .for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exp_is_the_standard_librarys(x in -707.0..0.0) {
            prop_assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-15);
        }

        #[test]
        fn ln_1p_is_the_standard_librarys(t in prop_oneof![0.0..1.0, 0.0..1e-8]) {
            prop_assert!((ln_1p(t) - f64::ln_1p(t)).abs() <= 1e-15 * f64::ln_1p(t));
        }
    }

    #[test]
    fn the_ends_are_right() {
        assert_eq!(
            (exp(0.0), exp(-1e9), exp(f64::NEG_INFINITY)),
            (1.0, 0.0, 0.0)
        );
        assert!(exp(f64::NAN).is_nan());
        assert_eq!(ln_1p(0.0).to_bits(), 0);
    }
}
