use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use valueattr_core::probe::{self, Options, Problem};

create_exception!(valueattr._core, ProbeError, PyValueError);

fn error(error: impl std::fmt::Display) -> PyErr {
    ProbeError::new_err(error.to_string())
}

#[pyfunction]
#[pyo3(signature = (x, labels, weights, l2, *, standardize, tol, max_iter, threads))]
#[allow(clippy::too_many_arguments)]
fn fit_logistic<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f32>,
    labels: PyReadonlyArray2<'py, u32>,
    weights: Option<PyReadonlyArray2<'py, f64>>,
    l2: PyReadonlyArray1<'py, f64>,
    standardize: bool,
    tol: f64,
    max_iter: u32,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let features = x.as_array().ncols();
    let problem = Problem {
        x: x.as_slice()?,
        features,
        labels: labels.as_slice()?,
        weights: weights.as_ref().map(|w| w.as_slice()).transpose()?,
        l2: l2.as_slice()?,
    };
    let options = Options {
        standardize,
        tol,
        max_iter,
        threads,
    };
    let fits = py
        .detach(|| probe::fit(&problem, &options))
        .map_err(error)?;
    let out = PyDict::new(py);
    out.set_item("classes", fits.classes)?;
    out.set_item("coef", fits.coefficients.into_pyarray(py))?;
    out.set_item("intercept", fits.intercepts.into_pyarray(py))?;
    out.set_item("mean", fits.mean.into_pyarray(py))?;
    out.set_item("scale", fits.scale.into_pyarray(py))?;
    out.set_item("converged", fits.converged.into_pyarray(py))?;
    out.set_item("n_iter", fits.iterations.into_pyarray(py))?;
    out.set_item("objective", fits.objective.into_pyarray(py))?;
    Ok(out)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ProbeError", module.py().get_type::<ProbeError>())?;
    module.add_function(wrap_pyfunction!(fit_logistic, module)?)
}
