//! Fitting: probes on arrays or on a layer of a store, which Ctrl-C ends between passes over the data.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use valueattr_core::probe::{self, Fits, Linear, Options, Problem, Rows, Run};

use crate::store::StoreReader;

create_exception!(valueattr._core, ProbeError, PyValueError);
create_exception!(valueattr._core, NotFiniteError, ProbeError);

/// The class of a failure that a fit reports, with its message.
fn fit_error(error: probe::ProbeError) -> PyErr {
    match error {
        probe::ProbeError::NotFinite { .. } => NotFiniteError::new_err(error.to_string()),
        _ => ProbeError::new_err(error.to_string()),
    }
}

fn error(error: impl std::fmt::Display) -> PyErr {
    ProbeError::new_err(error.to_string())
}

/// How often Python's signals are looked at. Not more often, because it takes the interpreter's lock.
const SIGNALS: Duration = Duration::from_millis(100);

/// Without the interpreter's lock, until Ctrl-C or whatever else a signal handler raises.
fn interruptibly<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(Run) -> Result<T, probe::ProbeError> + Send,
) -> PyResult<T> {
    let (done, raised) = py.detach(|| {
        let (looked, raised) = (Cell::new(Instant::now()), RefCell::new(None));
        let interrupted = || {
            if raised.borrow().is_none() && looked.get().elapsed() >= SIGNALS {
                looked.set(Instant::now());
                match Python::try_attach(|py| py.check_signals()) {
                    Some(looked) => *raised.borrow_mut() = looked.err(),
                    None => return true, // the interpreter is ending
                }
            }
            raised.borrow().is_some()
        };
        let run = Run {
            threads,
            interrupted: &interrupted,
        };
        (work(run), raised.into_inner())
    });
    raised.map_or_else(|| done.map_err(fit_error), Err)
}

/// Rows in memory, or a layer of a store by its index.
#[derive(FromPyObject)]
enum Source<'py> {
    Memory(PyReadonlyArray2<'py, f32>),
    Layer(PyRef<'py, StoreReader>, usize),
}

impl Source<'_> {
    fn rows(&self) -> PyResult<Rows<'_>> {
        Ok(match self {
            Self::Memory(x) => Rows::Memory {
                values: x.as_slice()?,
                features: x.as_array().ncols(),
            },
            Self::Layer(reader, layer) => reader.rows_of_layer(*layer)?,
        })
    }
}

fn problem<'a>(
    x: &'a Source<'_>,
    labels: &'a PyReadonlyArray2<'_, u32>,
    weights: Option<&'a PyReadonlyArray2<'_, f64>>,
    l2: &'a PyReadonlyArray1<'_, f64>,
) -> PyResult<Problem<'a>> {
    Ok(Problem {
        x: x.rows()?,
        labels: labels.as_slice()?,
        weights: weights.map(|w| w.as_slice()).transpose()?,
        l2: l2.as_slice()?,
    })
}

#[pyfunction]
#[pyo3(signature = (x, labels, weights, l2, *, standardize, tol, max_iter, threads))]
#[allow(clippy::too_many_arguments)]
fn fit_logistic<'py>(
    py: Python<'py>,
    x: Source<'py>,
    labels: PyReadonlyArray2<'py, u32>,
    weights: Option<PyReadonlyArray2<'py, f64>>,
    l2: PyReadonlyArray1<'py, f64>,
    standardize: bool,
    tol: f64,
    max_iter: u32,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let problem = problem(&x, &labels, weights.as_ref(), &l2)?;
    let options = Options {
        standardize,
        tol,
        max_iter,
    };
    let fits = interruptibly(py, threads, |run| {
        probe::fit_logistic(&problem, &options, run)
    })?;
    to_python(py, fits)
}

#[pyfunction]
#[pyo3(signature = (kind, x, labels, weights, l2, *, standardize, threads))]
#[allow(clippy::too_many_arguments)]
fn fit_linear<'py>(
    py: Python<'py>,
    kind: &str,
    x: Source<'py>,
    labels: PyReadonlyArray2<'py, u32>,
    weights: Option<PyReadonlyArray2<'py, f64>>,
    l2: PyReadonlyArray1<'py, f64>,
    standardize: bool,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let kind = match kind {
        "ridge" => Linear::Ridge,
        "lda" => Linear::Discriminant,
        "mean-difference" => Linear::MeanDifference,
        "mean-difference-whitened" => Linear::WhitenedMeanDifference,
        _ => return Err(error(format!("unknown kind of probe {kind:?}"))),
    };
    let problem = problem(&x, &labels, weights.as_ref(), &l2)?;
    let fits = interruptibly(py, threads, |run| {
        probe::fit_linear(&problem, kind, standardize, run)
    })?;
    to_python(py, fits)
}

#[pyfunction]
#[pyo3(signature = (x, targets, weights, l2, *, standardize, threads))]
fn fit_ridge<'py>(
    py: Python<'py>,
    x: Source<'py>,
    targets: PyReadonlyArray2<'py, f64>,
    weights: Option<PyReadonlyArray2<'py, f64>>,
    l2: PyReadonlyArray1<'py, f64>,
    standardize: bool,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let (rows, targets, l2) = (x.rows()?, targets.as_slice()?, l2.as_slice()?);
    let weights = weights.as_ref().map(|w| w.as_slice()).transpose()?;
    let fits = interruptibly(py, threads, |run| {
        probe::fit_ridge(rows, targets, weights, l2, standardize, run)
    })?;
    to_python(py, fits)
}

fn to_python(py: Python<'_>, fits: Fits) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("classes", fits.classes)?;
    out.set_item("coef", fits.coefficients.into_pyarray(py))?;
    out.set_item("intercept", fits.intercepts.into_pyarray(py))?;
    out.set_item("mean", fits.mean.into_pyarray(py))?;
    out.set_item("scale", fits.scale.into_pyarray(py))?;
    out.set_item("converged", fits.converged.into_pyarray(py))?;
    out.set_item("n_iter", fits.iterations.into_pyarray(py))?;
    out.set_item("objective", fits.objective.into_pyarray(py))?;
    out.set_item("gradient_norm", fits.gradient_norm.into_pyarray(py))?;
    Ok(out)
}

#[pyfunction]
#[pyo3(signature = (scores, positive, group, counts, *, threads))]
fn resampled_auroc<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray1<'py, f64>,
    positive: PyReadonlyArray1<'py, bool>,
    group: PyReadonlyArray1<'py, u32>,
    counts: PyReadonlyArray2<'py, u32>,
    threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let groups = counts.as_array().ncols();
    let (scores, positive) = (scores.as_slice()?, positive.as_slice()?);
    let (group, counts) = (group.as_slice()?, counts.as_slice()?);
    if positive.len() != scores.len() || group.len() != scores.len() {
        return Err(error("scores, positive and group are not of one length"));
    }
    if group.iter().any(|&g| g as usize >= groups) {
        return Err(error("a group has no count"));
    }
    let auroc = interruptibly(py, threads, |run| {
        probe::resampled_auroc(scores, positive, group, counts, groups, run)
    })?;
    Ok(auroc.into_pyarray(py))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ProbeError", module.py().get_type::<ProbeError>())?;
    module.add("NotFiniteError", module.py().get_type::<NotFiniteError>())?;
    module.add_function(wrap_pyfunction!(fit_logistic, module)?)?;
    module.add_function(wrap_pyfunction!(fit_linear, module)?)?;
    module.add_function(wrap_pyfunction!(fit_ridge, module)?)?;
    module.add_function(wrap_pyfunction!(resampled_auroc, module)?)
}
