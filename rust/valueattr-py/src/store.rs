//! The store: one writer, and readers that copy rows into arrays of the caller's.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray2};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use valueattr_core::probe::Rows;
use valueattr_core::store::{
    self, Dtype, Manifest, NewShard, Rebuilt, Store, StoreError as CoreError, Writer,
};

create_exception!(valueattr._core, StoreError, PyException);
create_exception!(valueattr._core, JournalError, StoreError);

// It takes the error by value because `map_err` hands it over so.
#[allow(clippy::needless_pass_by_value)]
fn store_error(error: CoreError) -> PyErr {
    match error {
        CoreError::Lost { .. } => JournalError::new_err(error.to_string()),
        _ => StoreError::new_err(error.to_string()),
    }
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

/// The one writer of a store; see `valueattr.activations`.
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

    /// Capture, texts and rows of each shard that was committed when the store was opened.
    #[getter]
    fn committed(&self) -> Vec<(String, usize, usize)> {
        let writer = self.locked();
        let shards = writer.committed().iter();
        shards
            .map(|shard| (shard.capture.clone(), shard.texts, shard.rows))
            .collect()
    }

    /// Appends one shard; `layers` holds each layer's rows as bytes, in the order of the manifest.
    #[allow(clippy::needless_pass_by_value)]
    fn append(
        &self,
        py: Python<'_>,
        capture: &str,
        texts: usize,
        text: PyReadonlyArray1<'_, i64>,
        token: PyReadonlyArray1<'_, i64>,
        layers: Vec<PyReadonlyArray1<'_, u8>>,
    ) -> PyResult<()> {
        let layers: Vec<&[u8]> = layers
            .iter()
            .map(|layer| Ok(layer.as_slice()?))
            .collect::<PyResult<_>>()?;
        let new = NewShard {
            capture,
            texts,
            text: text.as_slice()?,
            token: token.as_slice()?,
            layers: &layers,
        };
        py.detach(|| self.locked().append(new)).map_err(store_error)
    }

    /// Writes a file of any other name into the store, whole or not at all.
    fn write_beside(&self, name: &str, bytes: &[u8]) -> PyResult<()> {
        (self.locked().write_beside(name, bytes)).map_err(store_error)
    }

    /// Waits until everything that was appended is committed.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.locked().finish()).map_err(store_error)
    }
}

impl StoreWriter {
    fn locked(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A committed store, mapped; see `valueattr.activations`.
#[pyclass(frozen)]
pub struct StoreReader {
    store: Store,
}

type Column = Py<PyArray1<i64>>;

#[pymethods]
impl StoreReader {
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let store = py.detach(|| Store::open(&path)).map_err(store_error)?;
        Ok(Self { store })
    }

    #[getter]
    fn layers(&self) -> Vec<u32> {
        self.store.manifest.layers.clone()
    }

    #[getter]
    fn width(&self) -> usize {
        self.store.manifest.width
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        ["float32", "float16", "bfloat16"][self.store.manifest.dtype as usize]
    }

    #[getter]
    fn rows(&self) -> usize {
        self.store.rows()
    }

    /// Capture, texts and rows of each shard.
    #[getter]
    fn shards(&self) -> Vec<(&str, usize, usize)> {
        let shards = self.store.shards.iter();
        shards
            .map(|shard| (shard.capture.as_str(), shard.texts, shard.rows))
            .collect()
    }

    /// File and byte offset of a layer, by its index, in each shard.
    fn locate(&self, layer: usize) -> PyResult<Vec<(PathBuf, usize)>> {
        self.check_layer(layer)?;
        let shards = 0..self.store.shards.len();
        Ok(shards.map(|i| self.store.locate(i, layer)).collect())
    }

    /// For each row the text of its capture and the token, both counted from 0.
    fn sources(&self, py: Python<'_>) -> (Column, Column) {
        let rows = self.store.sources();
        let column = |of: fn(&valueattr_core::store::Row) -> i64| {
            let values: Vec<i64> = rows.iter().map(of).collect();
            values.into_pyarray(py).unbind()
        };
        (column(|row| row.text), column(|row| row.token))
    }

    /// Copies rows of a layer, by its index, into `out` (rows, width).
    #[allow(clippy::needless_pass_by_value)]
    fn gather(
        &self,
        py: Python<'_>,
        layer: usize,
        rows: PyReadonlyArray1<'_, i64>,
        mut out: PyReadwriteArray2<'_, f32>,
    ) -> PyResult<()> {
        self.check_layer(layer)?;
        let wanted = rows.as_slice()?;
        if out.as_array().dim() != (wanted.len(), self.store.manifest.width) {
            return Err(PyValueError::new_err("out is not of shape (rows, width)"));
        }
        // A negative row is far beyond the last.
        let wanted: Vec<usize> = wanted
            .iter()
            .map(|&row| usize::try_from(row).unwrap_or(usize::MAX))
            .collect();
        let out = out.as_slice_mut()?;
        py.detach(|| self.store.gather(layer, &wanted, out))
            .map_err(store_error)
    }

    /// Tells the system that the rows start..stop of a layer, by its index, will be wanted soon.
    fn will_need(
        &self,
        py: Python<'_>,
        layer: usize,
        start: usize,
        stop: usize,
        now: bool,
    ) -> PyResult<()> {
        self.check_layer(layer)?;
        py.detach(|| self.store.will_need(layer, start, stop, now))
            .map_err(store_error)
    }

    /// Reads everything and compares checksums.
    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.store.verify()).map_err(store_error)
    }
}

impl StoreReader {
    pub fn rows_of_layer(&self, layer: usize) -> PyResult<Rows<'_>> {
        self.check_layer(layer)?;
        let store = &self.store;
        Ok(Rows::Layer { store, layer })
    }

    fn check_layer(&self, layer: usize) -> PyResult<()> {
        if layer < self.store.manifest.layers.len() {
            return Ok(());
        }
        Err(PyValueError::new_err("there is no such layer"))
    }
}

/// Writes the journal of a store anew from its shards; how many lines were kept, and how many are new.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn rebuild_journal(py: Python<'_>, path: PathBuf) -> PyResult<(usize, usize)> {
    let Rebuilt { kept, new } = (py.detach(|| store::rebuild(&path))).map_err(store_error)?;
    Ok((kept, new))
}

/// XXH3 of some bytes, in hexadecimal.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn xxh3(py: Python<'_>, bytes: PyReadonlyArray1<'_, u8>) -> PyResult<String> {
    let bytes = bytes.as_slice()?;
    Ok(py.detach(|| store::xxh3(bytes)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("StoreError", module.py().get_type::<StoreError>())?;
    module.add("JournalError", module.py().get_type::<JournalError>())?;
    module.add_function(wrap_pyfunction!(rebuild_journal, module)?)?;
    module.add_function(wrap_pyfunction!(xxh3, module)?)?;
    module.add_class::<StoreWriter>()?;
    module.add_class::<StoreReader>()
}
