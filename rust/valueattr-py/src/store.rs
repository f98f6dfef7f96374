use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::PyReadonlyArray1;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use valueattr_core::store::{Dtype, Manifest, Store, StoreError as CoreError, Writer};

create_exception!(valueattr._core, StoreError, PyException);

// By value because `map_err` hands it over so.
#[allow(clippy::needless_pass_by_value)]
fn store_error(error: CoreError) -> PyErr {
    StoreError::new_err(error.to_string())
}

fn dtype(name: &str) -> PyResult<Dtype> {
    match name {
        "float32" => Ok(Dtype::F32),
        "float16" => Ok(Dtype::F16),
        "bfloat16" => Ok(Dtype::BF16),
        _ => Err(PyValueError::new_err(format!(
            "unknown dtype {name:?}; known: float32, float16, bfloat16"
        ))),
    }
}

/// The one writer of a store; see `valueattr.measures.activations`.
#[pyclass(frozen)]
struct StoreWriter {
    writer: Mutex<Writer>,
}

#[pymethods]
impl StoreWriter {
    #[new]
    #[pyo3(signature = (path, layers, width, dtype_name, durable))]
    fn new(
        path: PathBuf,
        layers: Vec<u32>,
        width: usize,
        dtype_name: &str,
        durable: bool,
    ) -> PyResult<Self> {
        let manifest = Manifest::new(layers, width, dtype(dtype_name)?);
        Ok(Self {
            writer: Mutex::new(Writer::open(&path, manifest, durable).map_err(store_error)?),
        })
    }

    #[getter]
    fn rows(&self) -> usize {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rows()
    }

    /// Commits one shard; `layers` holds each layer's rows as bytes, in the order of the manifest.
    #[allow(clippy::needless_pass_by_value)]
    fn append(
        &self,
        py: Python<'_>,
        rows: usize,
        layers: Vec<PyReadonlyArray1<'_, u8>>,
    ) -> PyResult<()> {
        let layers: Vec<&[u8]> = layers
            .iter()
            .map(|layer| Ok(layer.as_slice()?))
            .collect::<PyResult<_>>()?;
        py.detach(|| {
            self.writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .append(rows, &layers)
        })
        .map_err(store_error)
    }
}

type Located = Vec<(PathBuf, usize, Vec<usize>)>;

/// Layers, width, dtype, and per committed shard its file, rows and the byte offset of each layer.
#[pyfunction]
fn open_store(path: PathBuf) -> PyResult<(Vec<u32>, usize, &'static str, Located)> {
    let store = Store::open(&path).map_err(store_error)?;
    let shards = store
        .shards
        .iter()
        .map(|shard| {
            let places: Vec<(PathBuf, usize)> = (0..store.manifest.layers.len())
                .map(|i| store.locate(shard, i))
                .collect();
            let file = path.join(&shard.file);
            (
                file,
                shard.rows,
                places.into_iter().map(|(_, offset)| offset).collect(),
            )
        })
        .collect();
    let dtype = ["float32", "float16", "bfloat16"][store.manifest.dtype as usize];
    Ok((store.manifest.layers, store.manifest.width, dtype, shards))
}

/// Reads a whole store and compares checksums.
#[pyfunction]
fn verify_store(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    py.detach(|| Store::open(&path)?.verify())
        .map_err(store_error)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("StoreError", module.py().get_type::<StoreError>())?;
    module.add_class::<StoreWriter>()?;
    module.add_function(wrap_pyfunction!(open_store, module)?)?;
    module.add_function(wrap_pyfunction!(verify_store, module)?)
}
