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

/// Rows of a Gram matrix that are multiplied at once: what caches hold.
const GRAM_ROWS: usize = 256;

/// `g = x' x` of the columns `from..to` of `x`, on and below the diagonal: (features - from, to - from), column-major;
/// `x` is (rows, features) row-major.
pub(super) fn gram_panel<T: Real>(x: &[T], features: usize, from: usize, to: usize, g: &mut [T]) {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    let g = MatMut::from_column_major_slice_mut(g, features - from, to - from);
    let (mut diagonal, mut below) = g.split_at_row_mut(to - from);
    let mut accum = Accum::Replace;
    for x in x.chunks(GRAM_ROWS * features) {
        let x = MatRef::from_row_major_slice(x, x.len() / features, features);
        let own = x.subcols(from, to - from);
        triangular::matmul(
            diagonal.as_mut(),
            TriangularLower,
            accum,
            own.transpose(),
            Rectangular,
            own,
            Rectangular,
            T::from_f64(1.0),
            Par::Seq,
        );
        matmul(
            below.as_mut(),
            accum,
            x.subcols(to, features - to).transpose(),
            own,
            T::from_f64(1.0),
            Par::Seq,
        );
        accum = Accum::Add;
    }
}

/// A symmetric positive semidefinite A, as `Q diag(values) Q' + outside (I - Q Q')`.
pub(super) struct Spectrum {
    /// The eigenvalues, ascending.
    values: Vec<f64>,
    /// The eigenvectors, orthonormal: shape (size, values), column-major.
    vectors: Vec<f64>,
    size: usize,
    /// The eigenvalue that A is assumed to have where no vector reaches.
    outside: f64,
}

impl Spectrum {
    /// Decomposes `x' x / rows`, given the lower triangle of `x' x`, column-major. `None` if the iteration does not
    /// converge.
    ///
    /// It works in f32: the preconditioner that is made of it is positive definite whatever the rounding.
    pub(super) fn of_gram(lower: &[f64], size: usize, rows: f64) -> Option<Self> {
        let lower = MatRef::from_column_major_slice(lower, size, size);
        let gram = Mat::from_fn(size, size, |i, j| f32::from_f64(lower[(i, j)] / rows));
        let eigen = gram.self_adjoint_eigen(Side::Lower).ok()?;
        let values = eigen.S().column_vector().iter();
        Some(Self {
            values: values.map(|&v| f64::from(v).max(0.0)).collect(),
            vectors: columns(eigen.U()),
            size,
            outside: 0.0,
        })
    }

    /// Decomposes `x' x / rows` by way of `x x' / rows`, for `x` (rows, size), row-major, with fewer rows than columns.
    /// Other rows leave the span of these; outside it, every direction is given the median of the values.
    ///
    /// It works in f64, because `solve` subtracts the part within the span from the whole.
    pub(super) fn of_few_rows(x: &[f64], size: usize) -> Option<Self> {
        let rows = x.len() / size;
        let x = MatRef::from_row_major_slice(x, rows, size);
        let mut gram = Mat::<f64>::zeros(rows, rows);
        lower_product(&mut gram, x);
        let eigen = gram.self_adjoint_eigen(Side::Lower).ok()?;
        let all: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let least = 1e-12 * largest(&all);
        let first = all.partition_point(|v| *v <= least);
        let within = x.transpose() * eigen.U().subcols(first, rows - first);
        let mut vectors = columns(within.as_ref());
        for (column, value) in vectors.chunks_exact_mut(size).zip(&all[first..]) {
            for v in column {
                *v /= value.sqrt();
            }
        }
        let values: Vec<f64> = all[first..].iter().map(|v| v / count(rows)).collect();
        Some(Self {
            outside: values.get(values.len() / 2).copied().unwrap_or(0.0),
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
        let outside = |(curvature, l2): &(f64, f64)| {
            if whole {
                0.0
            } else {
                (curvature * self.outside + l2).recip()
            }
        };
        let outside: Vec<f64> = curvature_and_l2.iter().map(outside).collect();
        let scaled = rotated.chunks_exact_mut(rank).zip(curvature_and_l2);
        for ((column, (curvature, l2)), outside) in scaled.zip(&outside) {
            for (entry, value) in column.iter_mut().zip(&self.values) {
                *entry *= (curvature * value + l2).recip() - outside;
            }
        }
        let mut within = vec![0.0; columns.len()];
        transposed_product(&self.vectors, &rotated, &mut within, rank);
        let pairs = columns
            .chunks_exact_mut(self.size)
            .zip(within.chunks_exact(self.size));
        for ((column, within), outside) in pairs.zip(&outside) {
            for (b, within) in column.iter_mut().zip(within) {
                *b = *b * outside + within;
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
/// An f32 factor takes half the time of an f64 one, but each right side some products that an f64 one does without: worth
/// it for one to so many features, measured.
const FEATURES_PER_COLUMN: usize = 256;
/// The most steps of refinement: a factor that is of any use has led to the solution by then.
const STEPS: usize = 12;
/// Refinement ends at this share of the squared error that 0 has, in the norm of the f32 factor's matrix.
const REMAINDER: f64 = 1e-24;

/// Solves with symmetric positive semidefinite matrices; keeps its memory from one to the next.
#[derive(Default)]
pub(super) struct Solver {
    single: Vec<f32>,
    double: Vec<f64>,
}

impl Solver {
    /// `(a + shift I)^-1 b` for each column b of `b` in place, `a` by its lower triangle, both column-major. Directions
    /// without data are left out (the pseudo-inverse, in units of each feature's own spread); `None` if the
    /// eigendecomposition that only those need does not converge.
    pub(super) fn solve(
        &mut self,
        a: &[f64],
        shift: f64,
        b: &mut [f64],
        size: usize,
    ) -> Option<()> {
        let columns = b.len() / size;
        let system = Scaled::new(a, shift, size);
        system.rescale(b);
        if columns * FEATURES_PER_COLUMN > size || !system.by_refinement(&mut self.single, b) {
            system.exactly(&mut self.double, b)?;
        }
        system.rescale(b);
        Some(())
    }
}

/// `a + shift I` with rows and columns divided by each feature's spread, which makes the diagonal 1.
struct Scaled<'a> {
    a: &'a [f64],
    shift: f64,
    spread: Vec<f64>,
}

impl<'a> Scaled<'a> {
    fn new(a: &'a [f64], shift: f64, size: usize) -> Self {
        let variances = a.iter().step_by(size + 1).map(|v| v + shift);
        let spread = variances
            .map(|v| if v > 0.0 { v.sqrt() } else { 1.0 })
            .collect();
        Self { a, shift, spread }
    }

    fn size(&self) -> usize {
        self.spread.len()
    }

    fn resolution(&self) -> f64 {
        count(self.size()) * RESOLUTION
    }

    fn rescale(&self, b: &mut [f64]) {
        for column in b.chunks_exact_mut(self.size()) {
            let pairs = column.iter_mut().zip(&self.spread);
            pairs.for_each(|(b, spread)| *b /= spread);
        }
    }

    /// The lower triangle.
    fn fill<T: Real>(&self, out: &mut Vec<T>) {
        let size = self.size();
        out.resize(self.a.len(), T::from_f64(0.0));
        let columns = out.chunks_exact_mut(size).zip(self.a.chunks_exact(size));
        for (j, (out, column)) in columns.enumerate() {
            let (own, others) = (self.spread[j], &self.spread[j..]);
            for ((to, from), other) in out[j..].iter_mut().zip(&column[j..]).zip(others) {
                *to = T::from_f64(from / (own * other));
            }
            out[j] = T::from_f64((column[j] + self.shift) / (own * own));
        }
    }

    fn times(&self, v: &[f64]) -> Vec<f64> {
        let mut own = v.to_vec();
        self.rescale(&mut own);
        let mut out = lower_times(self.a, &own, self.size());
        let pairs = out.iter_mut().zip(&own);
        pairs.for_each(|(out, own)| *out += self.shift * own);
        self.rescale(&mut out);
        out
    }

    /// Conjugate gradients in f64, preconditioned by a Cholesky factor in f32; false, and `b` as it was, where that is too
    /// coarse.
    fn by_refinement(&self, scratch: &mut Vec<f32>, b: &mut [f64]) -> bool {
        let size = self.size();
        self.fill(scratch);
        let mut factor = MatMut::from_column_major_slice_mut(scratch, size, size);
        // In directions without data f32's rounding would stand for a variance, unless the shift gives them one.
        let resolution = if self.shift / largest(&self.spread).powi(2) > self.resolution() {
            0.0
        } else {
            count(size) * f64::from(f32::EPSILON)
        };
        if !cholesky(factor.as_mut(), resolution) {
            return false;
        }
        let columns = b.chunks_exact(size);
        let found: Option<Vec<_>> = columns
            .map(|b| self.conjugate_gradients(factor.as_ref(), b))
            .collect();
        if let Some(found) = &found {
            b.copy_from_slice(&found.concat());
        }
        found.is_some()
    }

    fn conjugate_gradients(&self, factor: MatRef<f32>, b: &[f64]) -> Option<Vec<f64>> {
        let unit = largest(b);
        if unit == 0.0 {
            return Some(b.to_vec());
        }
        let mut x = vec![0.0; b.len()];
        let mut residual: Vec<f64> = b.iter().map(|v| v / unit).collect();
        let mut direction = coarsely(factor, &residual);
        let mut error = dot(&residual, &direction);
        let enough = REMAINDER * error;
        for _ in 0..STEPS {
            let product = self.times(&direction);
            let step = error / dot(&direction, &product);
            for i in 0..b.len() {
                x[i] += step * direction[i];
                residual[i] -= step * product[i];
            }
            let next = coarsely(factor, &residual);
            // What is orthogonal to the last direction, whatever the factor's rounding.
            let share = -step * dot(&next, &product) / error;
            error = dot(&residual, &next);
            for (direction, next) in direction.iter_mut().zip(next) {
                *direction = next + share * *direction;
            }
            if (0.0..=enough).contains(&error) {
                return Some(x.iter().map(|x| x * unit).collect());
            }
        }
        None
    }

    fn exactly(&self, scratch: &mut Vec<f64>, b: &mut [f64]) -> Option<()> {
        let size = self.size();
        let columns = b.len() / size;
        let mut right = MatMut::from_column_major_slice_mut(b, size, columns);
        let resolution = self.resolution();
        self.fill(scratch);
        let mut factor = MatMut::from_column_major_slice_mut(scratch, size, size);
        if cholesky(factor.as_mut(), resolution) {
            solve_factored(factor.as_ref(), right);
            return Some(());
        }
        self.fill(scratch);
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
        Some(())
    }
}

/// The solution of a factored system in f32, `b` brought to its range.
fn coarsely(factor: MatRef<f32>, b: &[f64]) -> Vec<f64> {
    let unit = largest(b).max(f64::MIN_POSITIVE);
    let mut column: Vec<f32> = b.iter().map(|v| f32::from_f64(v / unit)).collect();
    solve_factored(
        factor,
        MatMut::from_column_major_slice_mut(&mut column, b.len(), 1),
    );
    column.iter().map(|&v| f64::from(v) * unit).collect()
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| most.max(v.abs()))
}

fn solve_factored<T: Real>(lower: MatRef<T>, mut b: MatMut<T>) {
    solve_lower_triangular_in_place(lower, b.as_mut(), Par::Seq);
    solve_upper_triangular_in_place(lower.transpose(), b, Par::Seq);
}

/// The Cholesky factor in place of a lower triangle; false if a pivot, which is what is left of a feature's variance when
/// the others before it are known, is not above `resolution`.
fn cholesky<T: Real>(mut lower: MatMut<T>, resolution: f64) -> bool {
    let size = lower.nrows();
    let needed = factor::cholesky_in_place_scratch::<T>(size, Par::Seq, Spec::default());
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
    found.is_ok() && pivots.all(|&pivot| pivot.into().powi(2) > resolution)
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

/// The inner product, summed in eight lanes, which compilers turn into vectors.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 40;

    /// `Q diag(10^-decay ... 1) Q' D^2` of reflections Q, `rank` of its values not 0; column-major.
    fn semidefinite(decay: f64, rank: usize, scale: &[f64], mirrors: &[Vec<f64>]) -> Vec<f64> {
        let mut roots = Mat::<f64>::from_fn(SIZE, rank, |i, j| {
            let value = 10_f64.powf(-decay * count(j) / count(SIZE - 1));
            if i == j { value.sqrt() } else { 0.0 }
        });
        for mirror in mirrors {
            let v = MatRef::from_column_major_slice(mirror, SIZE, 1);
            let factor = 2.0 / dot(mirror, mirror);
            roots = &roots - v * (v.transpose() * &roots) * Scale(factor);
        }
        let roots = Mat::from_fn(SIZE, rank, |i, j| scale[i] * roots[(i, j)]);
        columns((&roots * roots.transpose()).as_ref())
    }

    fn mirrors() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec(0.1..1.0, SIZE), 3)
    }

    proptest! {
        /// The solution in the norm of the matrix, or the word that f32 is too coarse for it: never anything else.
        #[test]
        fn refinement_ends_at_the_solution_or_says_so(
            decay in 0.0..14.0,
            rank in SIZE / 2..=SIZE,
            shift in (-15.0..0.0).prop_map(|e| 10_f64.powf(e)),
            scale in prop::collection::vec((-4.0..4.0).prop_map(|e| 10_f64.powf(e)), SIZE),
            mirrors in mirrors(),
            truth in prop::collection::vec(-1.0..1.0, SIZE),
        ) {
            let a = semidefinite(decay, rank, &scale, &mirrors);
            let system = Scaled::new(&a, shift, SIZE);
            let b = system.times(&truth);
            let mut found = b.clone();
            if system.by_refinement(&mut Vec::new(), &mut found) {
                let off: Vec<f64> = found.iter().zip(&truth).map(|(f, t)| f - t).collect();
                let left = dot(&off, &system.times(&off)) / dot(&truth, &b);
                prop_assert!(left < 1e-16, "{left}");
            } else {
                prop_assert_eq!(&found, &b);
                prop_assert!(decay > 4.0 || rank < SIZE, "given up too early");
            }
        }
    }

    #[test]
    fn directions_without_data_are_left_out_by_whichever_way() {
        let (rows, size) = (800, 2 * FEATURES_PER_COLUMN);
        for seed in 1..6_u32 {
            let mut state = seed;
            let mut integer = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(state >> 29) - 3.5
            };
            let mut x = Mat::<f64>::from_fn(rows, size, |_, _| integer());
            for i in 0..rows {
                // Exact in f32, which then takes its rounding for a variance.
                x[(i, size - 1)] = 2.0 * x[(i, 0)] + 3.0 * x[(i, 1)];
            }
            let a = columns((x.transpose() * &x).as_ref());
            let mut b: Vec<f64> = a[..size].to_vec();
            let system = Scaled::new(&a, 0.0, size);
            let mut expected = b.clone();
            system.rescale(&mut expected);
            system
                .exactly(&mut Vec::new(), &mut expected)
                .expect("a decomposition");
            system.rescale(&mut expected);
            Solver::default()
                .solve(&a, 0.0, &mut b, size)
                .expect("a decomposition");
            let off: Vec<f64> = b.iter().zip(&expected).map(|(b, e)| b - e).collect();
            assert!(dot(&off, &off) < 1e-12 * dot(&expected, &expected));
        }
    }

    #[test]
    fn nothing_asked_for_is_nothing() {
        let a = semidefinite(2.0, SIZE, &[1.0; SIZE], &[]);
        let mut b = vec![0.0; SIZE];
        assert!(Scaled::new(&a, 0.1, SIZE).by_refinement(&mut Vec::new(), &mut b));
        assert_eq!(b, [0.0; SIZE]);
    }
}
