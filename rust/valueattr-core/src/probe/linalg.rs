//! Dense products and the eigendecomposition; the only file that knows which crate does them.
//!
//! Everything here runs on the calling thread: the parts above spread tiles over threads and add
//! their sums in a fixed order, which is what keeps results independent of the thread count.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{self, LltRegularization};
use faer::linalg::matmul::{matmul, triangular};
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{Accum, Mat, MatMut, MatRef, Par, Scale, Side, Spec};

/// f32 for the bulk of the work, f64 for the certificate.
pub(super) trait Real: faer::traits::RealField + Copy + Into<f64> + Send + Sync {
    fn from_f64(value: f64) -> Self;
    /// `(value - centre) / scale`.
    fn pooled(value: f32, centre: f32, inverse_scale: f32) -> Self;
}

impl Real for f32 {
    #[allow(clippy::cast_possible_truncation)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn pooled(value: f32, centre: f32, inverse_scale: f32) -> Self {
        (value - centre) * inverse_scale
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn pooled(value: f32, centre: f32, inverse_scale: f32) -> Self {
        (f64::from(value) - f64::from(centre)) * f64::from(inverse_scale)
    }
}

/// `z = x v`: `x` is (rows, inner) row-major; `v` (inner, columns) and `z` (rows, columns) are column-major.
pub(super) fn product<T: Real>(x: &[T], v: &[T], z: &mut [T], inner: usize) {
    let (rows, columns) = (x.len() / inner, v.len() / inner);
    matmul(
        MatMut::from_column_major_slice_mut(z, rows, columns),
        Accum::Replace,
        MatRef::from_row_major_slice(x, rows, inner),
        MatRef::from_column_major_slice(v, inner, columns),
        T::from_f64(1.0),
        Par::Seq,
    );
}

/// `g = x' r`: `x` is (inner, rows) row-major; `r` (inner, columns) and `g` (rows, columns) are column-major.
pub(super) fn transposed_product<T: Real>(x: &[T], r: &[T], g: &mut [T], inner: usize) {
    let (rows, columns) = (x.len() / inner, r.len() / inner);
    matmul(
        MatMut::from_column_major_slice_mut(g, rows, columns),
        Accum::Replace,
        MatRef::from_row_major_slice(x, inner, rows).transpose(),
        MatRef::from_column_major_slice(r, inner, columns),
        T::from_f64(1.0),
        Par::Seq,
    );
}

/// `g = x' x` of the columns `from..to` of `x`, on and below the diagonal: (features - from, to - from), column-major;
/// `x` is (rows, features) row-major.
pub(super) fn gram_panel<T: Real>(x: &[T], features: usize, from: usize, to: usize, g: &mut [T]) {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    let x = MatRef::from_row_major_slice(x, x.len() / features, features);
    let own = x.subcols(from, to - from);
    let g = MatMut::from_column_major_slice_mut(g, features - from, to - from);
    let (diagonal, below) = g.split_at_row_mut(to - from);
    triangular::matmul(
        diagonal,
        TriangularLower,
        Accum::Replace,
        own.transpose(),
        Rectangular,
        own,
        Rectangular,
        T::from_f64(1.0),
        Par::Seq,
    );
    matmul(
        below,
        Accum::Replace,
        x.subcols(to, features - to).transpose(),
        own,
        T::from_f64(1.0),
        Par::Seq,
    );
}

/// `Q diag(values) Q'`, the part of a symmetric positive semidefinite A whose values are not 0.
pub(super) struct Spectrum {
    values: Vec<f64>,
    /// (size, values), column-major, orthonormal.
    vectors: Vec<f64>,
    size: usize,
}

impl Spectrum {
    /// Of the lower triangle of `x' x`, column-major, over `rows`; `None` if the iteration does not converge.
    ///
    /// In f32: what is made of it is positive definite whatever the rounding.
    pub(super) fn of_gram(lower: &[f64], size: usize, rows: f64) -> Option<Self> {
        let lower = MatRef::from_column_major_slice(lower, size, size);
        let gram = Mat::from_fn(size, size, |i, j| f32::from_f64(lower[(i, j)] / rows));
        let eigen = gram.self_adjoint_eigen(Side::Lower).ok()?;
        let values = eigen.S().column_vector().iter();
        Some(Self {
            values: values.map(|&v| f64::from(v).max(0.0)).collect(),
            vectors: columns(eigen.U()),
            size,
        })
    }

    /// Of `x' x / rows`, `x` (rows, size) row-major with fewer rows than columns, by that of `x x' / rows`.
    ///
    /// In f64: `solve` takes the part within the rows from the whole.
    pub(super) fn of_few_rows(x: &[f64], size: usize) -> Option<Self> {
        let rows = x.len() / size;
        let x = MatRef::from_row_major_slice(x, rows, size);
        let mut gram = Mat::<f64>::zeros(rows, rows);
        lower_product(&mut gram, x);
        let eigen = gram.self_adjoint_eigen(Side::Lower).ok()?;
        let all: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let largest = all.iter().copied().fold(0.0, f64::max);
        let first = all.partition_point(|v| *v <= 1e-12 * largest);
        let within = x.transpose() * eigen.U().subcols(first, rows - first);
        let mut vectors = columns(within.as_ref());
        for (column, value) in vectors.chunks_exact_mut(size).zip(&all[first..]) {
            for v in column {
                *v /= value.sqrt();
            }
        }
        #[allow(clippy::cast_precision_loss)]
        let values = all[first..].iter().map(|v| v / rows as f64).collect();
        Some(Self {
            values,
            vectors,
            size,
        })
    }

    pub(super) fn trace(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Replace each column b of `columns` by `(curvature A + l2 I)^-1 b`, with its own curvature and l2.
    pub(super) fn solve(&self, columns: &mut [f64], curvature_and_l2: &[(f64, f64)]) {
        let rank = self.values.len();
        if rank == 0 {
            for (column, (_, l2)) in columns.chunks_exact_mut(self.size).zip(curvature_and_l2) {
                for b in column {
                    *b /= l2;
                }
            }
            return;
        }
        let mut rotated = vec![0.0; rank * curvature_and_l2.len()];
        // Column-major Q read as row-major is Q'.
        product(&self.vectors, columns, &mut rotated, self.size);
        let whole = rank == self.size;
        for (column, (curvature, l2)) in rotated.chunks_exact_mut(rank).zip(curvature_and_l2) {
            for (entry, value) in column.iter_mut().zip(&self.values) {
                let outside = if whole { 0.0 } else { l2.recip() };
                *entry *= (curvature * value + l2).recip() - outside;
            }
        }
        let mut within = vec![0.0; columns.len()];
        transposed_product(&self.vectors, &rotated, &mut within, rank);
        for ((column, within), (_, l2)) in columns
            .chunks_exact_mut(self.size)
            .zip(within.chunks_exact(self.size))
            .zip(curvature_and_l2)
        {
            for (b, within) in column.iter_mut().zip(within) {
                *b = if whole { *within } else { *b / l2 + within };
            }
        }
    }
}

/// Values and vectors, (values, size), of a small symmetric matrix by its lower triangle, row-major.
pub(super) fn eigen(lower: &[f64], size: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let matrix = MatRef::from_row_major_slice(lower, size, size);
    let eigen = matrix.self_adjoint_eigen(Side::Lower).ok()?;
    let values = eigen.S().column_vector().iter().copied().collect();
    Some((values, columns(eigen.U())))
}

/// Lower triangle of `a a'`.
fn lower_product(out: &mut Mat<f64>, a: MatRef<f64>) {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    triangular::matmul(
        out.as_mut(),
        TriangularLower,
        Accum::Replace,
        a,
        Rectangular,
        a.transpose(),
        Rectangular,
        1.0,
        Par::Seq,
    );
}

fn columns<T: Real>(matrix: MatRef<T>) -> Vec<f64> {
    let columns = matrix.col_iter();
    columns.flat_map(|c| c.iter().map(|&v| v.into())).collect()
}

/// Directions whose variance is below this share, in units of each feature's own, hold the rounding of f32 and no data.
const RESOLUTION: f64 = 1e-13;

/// `(a + shift I)^-1 b` for each column b of `b` in place, `a` symmetric positive semidefinite by its lower triangle, both
/// column-major. Directions without data are left out (the pseudo-inverse, in units of each feature's own spread); `None`
/// if the eigendecomposition that only those need does not converge. `scratch` is to be kept for the next call.
pub(super) fn solve_semidefinite(
    a: &[f64],
    shift: f64,
    b: &mut [f64],
    size: usize,
    scratch: &mut Vec<f64>,
) -> Option<()> {
    let columns = b.len() / size;
    let variances = a.iter().step_by(size + 1).map(|v| v + shift);
    let spread: Vec<f64> = variances
        .map(|v| if v > 0.0 { v.sqrt() } else { 1.0 })
        .collect();
    let rescale = |b: &mut [f64]| {
        for column in b.chunks_exact_mut(size) {
            let pairs = column.iter_mut().zip(&spread);
            pairs.for_each(|(b, spread)| *b /= spread);
        }
    };
    let fill = |scaled: &mut Vec<f64>| {
        scaled.resize(a.len(), 0.0);
        let columns = scaled.chunks_exact_mut(size).zip(a.chunks_exact(size));
        for (j, (scaled, column)) in columns.enumerate() {
            for ((to, from), other) in scaled[j..].iter_mut().zip(&column[j..]).zip(&spread[j..]) {
                *to = from / (spread[j] * other);
            }
            scaled[j] += shift / (spread[j] * spread[j]);
        }
    };
    rescale(b);
    let mut right = MatMut::from_column_major_slice_mut(b, size, columns);
    #[allow(clippy::cast_precision_loss)]
    let resolution = size as f64 * RESOLUTION;
    fill(scratch);
    let mut factor = MatMut::from_column_major_slice_mut(scratch, size, size);
    if cholesky(factor.as_mut(), resolution) {
        let lower = factor.as_ref();
        solve_lower_triangular_in_place(lower, right.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(lower.transpose(), right.as_mut(), Par::Seq);
    } else {
        fill(scratch);
        let scaled = MatRef::from_column_major_slice(scratch, size, size);
        let eigen = scaled.self_adjoint_eigen(Side::Lower).ok()?;
        let mut rotated = eigen.U().transpose() * right.as_ref();
        let values = eigen.S().column_vector().iter();
        for (mut row, &value) in rotated.row_iter_mut().zip(values) {
            let inverse = if value > resolution {
                value.recip()
            } else {
                0.0
            };
            row *= Scale(inverse);
        }
        right.copy_from(eigen.U() * rotated);
    }
    rescale(b);
    Some(())
}

/// The Cholesky factor in place of a lower triangle; false if a pivot, which is what is left of a feature's variance when
/// the others before it are known, is not above `resolution`.
fn cholesky(mut lower: MatMut<f64>, resolution: f64) -> bool {
    let size = lower.nrows();
    let needed = factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(needed);
    let stack = MemStack::new(&mut memory);
    let found = factor::cholesky_in_place(
        lower.as_mut(),
        LltRegularization::default(),
        Par::Seq,
        stack,
        Spec::default(),
    );
    let mut pivots = lower.diagonal().column_vector().iter();
    found.is_ok() && pivots.all(|pivot| pivot * pivot > resolution)
}

/// `a b` for each column of `b`, `a` symmetric by its lower triangle, both column-major.
pub(super) fn lower_times(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut out = vec![0.0; b.len()];
    for (b, out) in b.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        for (j, column) in a.chunks_exact(size).enumerate() {
            out[j] += dot(&column[j..], &b[j..]);
            let below = out[j + 1..].iter_mut().zip(&column[j + 1..]);
            below.for_each(|(out, a)| *out += a * b[j]);
        }
    }
    out
}

/// In eight lanes, which compilers turn into vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    lanes.into_iter().chain(rest).sum()
}
