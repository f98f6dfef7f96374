//! `valueattr._core`: each submodule converts arguments, releases the GIL and maps errors; no logic.

mod answer;
mod probe;
mod scan;
mod store;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    answer::register(module)?;
    scan::register(module)?;
    store::register(module)?;
    probe::register(module)
}
