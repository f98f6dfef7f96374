use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use valueattr_core::scan::{self, Counts, ENGLISH, Kind, Lexicon, Span, ThreadsError};

create_exception!(valueattr._core, LexiconError, PyValueError);

fn threads_error(error: ThreadsError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// A compiled lexicon that scans lists of str or the buffers of an Arrow string array.
#[pyclass(frozen)]
struct Scanner {
    lexicon: Lexicon,
    threads: usize,
}

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (lexicon, threads))]
    fn new(py: Python<'_>, lexicon: Option<&str>, threads: usize) -> PyResult<Self> {
        let lexicon = py
            .detach(|| Lexicon::parse(lexicon.unwrap_or(ENGLISH)))
            .map_err(|error| LexiconError::new_err(error.to_string()))?;
        Ok(Self { lexicon, threads })
    }

    /// Kind, pattern and strength of every entry.
    fn entries(&self) -> Vec<(&'static str, &str, Option<f64>)> {
        self.lexicon
            .entries()
            .iter()
            .map(|entry| (entry.kind.name(), entry.pattern.as_str(), entry.strength))
            .collect()
    }

    fn count_list<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let held = strings(texts)?;
        let texts = borrowed(&held)?;
        let counts = py
            .detach(|| scan::counts(&self.lexicon, &texts, self.threads))
            .map_err(threads_error)?;
        count_columns(py, &counts)
    }

    fn spans_list<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let held = strings(texts)?;
        let texts = borrowed(&held)?;
        let spans = py
            .detach(|| scan::spans(&self.lexicon, &texts, self.threads))
            .map_err(threads_error)?;
        span_columns(py, &spans)
    }

    fn count_buffers<'py>(
        &self,
        py: Python<'py>,
        offsets: PyReadonlyArray1<'py, i64>,
        bytes: PyReadonlyArray1<'py, u8>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let texts = sliced(offsets.as_slice()?, bytes.as_slice()?)?;
        let counts = py
            .detach(|| scan::counts(&self.lexicon, &texts, self.threads))
            .map_err(threads_error)?;
        count_columns(py, &counts)
    }

    fn spans_buffers<'py>(
        &self,
        py: Python<'py>,
        offsets: PyReadonlyArray1<'py, i64>,
        bytes: PyReadonlyArray1<'py, u8>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let texts = sliced(offsets.as_slice()?, bytes.as_slice()?)?;
        let spans = py
            .detach(|| scan::spans(&self.lexicon, &texts, self.threads))
            .map_err(threads_error)?;
        span_columns(py, &spans)
    }
}

fn strings<'py>(texts: &Bound<'py, PyList>) -> PyResult<Vec<Bound<'py, PyString>>> {
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| {
            text.cast_into::<PyString>().map_err(|error| {
                PyTypeError::new_err(format!(
                    "text {i} is {}, expected str",
                    error.into_inner().get_type()
                ))
            })
        })
        .collect()
}

fn borrowed<'a>(held: &'a [Bound<'_, PyString>]) -> PyResult<Vec<&'a str>> {
    held.iter()
        .enumerate()
        .map(|(i, text)| {
            text.to_str().map_err(|_| {
                PyValueError::new_err(format!("text {i} holds a lone surrogate, which is no text"))
            })
        })
        .collect()
}

fn sliced<'a>(offsets: &[i64], bytes: &'a [u8]) -> PyResult<Vec<&'a str>> {
    offsets
        .windows(2)
        .enumerate()
        .map(|(i, ends)| {
            let range = usize::try_from(ends[0])
                .ok()
                .zip(usize::try_from(ends[1]).ok());
            range
                .and_then(|(start, end)| bytes.get(start..end))
                .and_then(|text| std::str::from_utf8(text).ok())
                .ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "text {i} is not UTF-8, or its offsets are out of bounds"
                    ))
                })
        })
        .collect()
}

fn count_columns<'py>(py: Python<'py>, counts: &[Counts]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let column =
        |of: &dyn Fn(&Counts) -> u32| counts.iter().map(of).collect::<Vec<u32>>().into_pyarray(py);
    out.set_item("words", column(&|c| c.words))?;
    out.set_item("sentences", column(&|c| c.sentences))?;
    for kind in Kind::ALL {
        out.set_item(kind.name(), column(&|c| c.kinds[kind as usize]))?;
    }
    let first: Vec<i64> = counts
        .iter()
        .map(|c| c.first_hedge.map_or(-1, i64::from))
        .collect();
    out.set_item("first_hedge", first.into_pyarray(py))?;
    out.set_item(
        "hedge_only",
        counts
            .iter()
            .map(|c| c.hedge_only)
            .collect::<Vec<bool>>()
            .into_pyarray(py),
    )?;
    Ok(out)
}

fn span_columns<'py>(py: Python<'py>, spans: &[Vec<Span>]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let column = |of: &dyn Fn(usize, &Span) -> u32| {
        let rows = spans
            .iter()
            .enumerate()
            .flat_map(|(i, found)| found.iter().map(move |span| (i, span)));
        rows.map(|(i, span)| of(i, span))
            .collect::<Vec<u32>>()
            .into_pyarray(py)
    };
    out.set_item(
        "document",
        column(&|i, _| u32::try_from(i).unwrap_or(u32::MAX)),
    )?;
    out.set_item("entry", column(&|_, span| span.entry))?;
    out.set_item("start", column(&|_, span| span.start))?;
    out.set_item("end", column(&|_, span| span.end))?;
    out.set_item("sentence", column(&|_, span| span.sentence))?;
    Ok(out)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("LexiconError", module.py().get_type::<LexiconError>())?;
    module.add("KINDS", Kind::ALL.map(Kind::name))?;
    module.add_class::<Scanner>()
}
