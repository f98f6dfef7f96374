//! Dense products and the eigendecomposition; the only file that knows which crate does them.
//!
//! Everything here runs on the calling thread: the parts above spread tiles over threads and add
//! their sums in a fixed order, which is what keeps results independent of the thread count.

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par, Side};

/// f32 for the bulk of the work, f64 for the certificate.
pub(super) trait Real: faer::traits::RealField + Copy + Send + Sync {
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    #[allow(clippy::cast_possible_truncation)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
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

/// Lower triangle of `x' x`, `x` (rows, features) row-major; what is above the diagonal is left as it was.
pub(super) fn gram_lower(x: &[f32], gram: &mut [f32], features: usize) {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    let x = MatRef::from_row_major_slice(x, x.len() / features, features);
    triangular::matmul(
        MatMut::from_column_major_slice_mut(gram, features, features),
        TriangularLower,
        Accum::Replace,
        x.transpose(),
        Rectangular,
        x,
        Rectangular,
        1.0,
        Par::Seq,
    );
}

/// `A = Q diag(values) Q'` of a symmetric positive semidefinite A.
pub(super) struct Spectrum {
    values: Vec<f64>,
    vectors: Vec<f64>,
}

impl Spectrum {
    /// Reads the lower triangle of a column-major matrix; `None` if the iteration does not converge.
    pub(super) fn of(lower: &[f64], size: usize) -> Option<Self> {
        let eigen = MatRef::from_column_major_slice(lower, size, size)
            .self_adjoint_eigen(Side::Lower)
            .ok()?;
        let values = eigen
            .S()
            .column_vector()
            .iter()
            .map(|v| v.max(0.0))
            .collect();
        let vectors = (0..size).flat_map(|j| (0..size).map(move |i| (i, j)));
        let vectors = vectors.map(|(i, j)| eigen.U()[(i, j)]).collect();
        Some(Self { values, vectors })
    }

    pub(super) fn trace(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Replace each column b of `columns` by `(curvature A + l2 I)^-1 b`, with its own curvature and l2.
    pub(super) fn solve(&self, columns: &mut [f64], curvature_and_l2: &[(f64, f64)]) {
        let size = self.values.len();
        let mut rotated = vec![0.0; columns.len()];
        // Column-major Q read as row-major is Q'.
        product(&self.vectors, columns, &mut rotated, size);
        for (column, (curvature, l2)) in rotated.chunks_exact_mut(size).zip(curvature_and_l2) {
            for (entry, value) in column.iter_mut().zip(&self.values) {
                *entry /= curvature * value + l2;
            }
        }
        transposed_product(&self.vectors, &rotated, columns, size);
    }
}
