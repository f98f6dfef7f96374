//! Scanning: a lexicon over lists of str, over the buffers of Arrow arrays, and over dumps. Results are columns.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use valueattr_core::dump::{Chunks, DumpScan, Lines, PathStep, Scanned};
use valueattr_core::scan::{
    self, BatchError, Counts, ENGLISH, FEATURE_NAMES, Kind, Lexicon, Scratch, Span, Stance,
    TooLong, Verdict,
};

create_exception!(valueattr._core, LexiconError, PyValueError);

fn threads_error(error: scan::ThreadsError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

fn batch_error(error: BatchError) -> PyErr {
    match error {
        BatchError::TooLong { text, error } => too_long(text, error),
        BatchError::Threads(error) => threads_error(error),
    }
}

fn too_long(text: usize, error: TooLong) -> PyErr {
    PyValueError::new_err(format!("text {text} is too long: {error}"))
}

/// A compiled lexicon that scans lists of str or the buffers of an Arrow string array.
#[pyclass(frozen)]
struct Scanner {
    lexicon: Arc<Lexicon>,
    threads: usize,
    kinds: Vec<Kind>,
}

type EntryRow<'a> = (
    &'static str,
    &'a str,
    Option<f64>,
    Option<&'a str>,
    Option<&'a str>,
    usize,
);

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (lexicon, threads, modal, stance))]
    fn new(
        py: Python<'_>,
        lexicon: Option<&str>,
        threads: usize,
        modal: bool,
        stance: bool,
    ) -> PyResult<Self> {
        let lexicon = py
            .detach(|| Lexicon::parse(lexicon.unwrap_or(ENGLISH), modal, stance))
            .map_err(|error| LexiconError::new_err(error.to_string()))?;
        let kinds = (Kind::ALL.into_iter())
            .filter(|&kind| (modal || kind != Kind::Modal) && !kind.is_of_stance())
            .collect();
        Ok(Self {
            lexicon: Arc::new(lexicon),
            threads,
            kinds,
        })
    }

    /// Kind, pattern, strength, example, source and line of every entry.
    fn entries(&self) -> Vec<EntryRow<'_>> {
        (self.lexicon.entries().iter())
            .map(|entry| {
                (
                    entry.kind.name(),
                    entry.pattern.as_str(),
                    entry.strength,
                    entry.example.as_deref(),
                    entry.source.as_deref(),
                    entry.line,
                )
            })
            .collect()
    }

    /// Entry, start, end and verdict of every phrase of the lexicon in a text.
    fn explain(&self, text: &Bound<'_, PyString>) -> PyResult<Vec<(u32, u32, u32, &'static str)>> {
        let text = text.to_str().map_err(|_| surrogate(0))?;
        scan::check_length(text.len()).map_err(|error| too_long(0, error))?;
        let found = self.lexicon.explain(text, &mut Scratch::default());
        Ok(found
            .into_iter()
            .map(|(span, verdict)| (span.entry, span.start, span.end, name_of(verdict)))
            .collect())
    }

    /// What the stance of each text is judged by, a row a text.
    fn stance_features(&self, texts: &Bound<'_, PyList>) -> PyResult<Vec<Vec<f64>>> {
        let held = strings(texts)?;
        let mut scratch = Scratch::default();
        (borrowed(&held)?.into_iter().enumerate())
            .map(|(i, text)| {
                scan::check_length(text.len()).map_err(|error| too_long(i, error))?;
                Ok(self.lexicon.stance_features(text, &mut scratch).to_vec())
            })
            .collect()
    }

    /// How much each feature of a text speaks for a refusal.
    fn stance_reasons(&self, text: &Bound<'_, PyString>) -> PyResult<Vec<(&'static str, f64)>> {
        let text = text.to_str().map_err(|_| surrogate(0))?;
        scan::check_length(text.len()).map_err(|error| too_long(0, error))?;
        let reasons = self.lexicon.stance_reasons(text, &mut Scratch::default());
        Ok(FEATURE_NAMES.into_iter().zip(reasons).collect())
    }

    /// Scans a dump; see `DumpScanner`.
    fn dump(
        &self,
        py: Python<'_>,
        path: PathBuf,
        field: Option<&str>,
        chat: bool,
        spans: bool,
        may_be_array: bool,
    ) -> PyResult<DumpScanner> {
        let lines = field.map_or(Lines::Text, |field| Lines::Json {
            field: PathStep::path(field),
            chat,
        });
        // Opening a pipe may have to wait for its first bytes.
        let chunks = py.detach(|| Chunks::open(&path, self.threads, may_be_array))?;
        let scan = DumpScan::new(chunks, lines, spans, self.threads).map_err(threads_error)?;
        Ok(DumpScanner {
            scan: Mutex::new(scan),
            lexicon: Arc::clone(&self.lexicon),
            kinds: self.kinds.clone(),
            spans,
        })
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
            .map_err(batch_error)?;
        count_columns(py, &counts, &self.kinds, self.lexicon.reads_stance())
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
            .map_err(batch_error)?;
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
            .map_err(batch_error)?;
        count_columns(py, &counts, &self.kinds, self.lexicon.reads_stance())
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
            .map_err(batch_error)?;
        span_columns(py, &spans)
    }
}

fn name_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Counts => "counts",
        Verdict::Silenced(guard) => guard.name(),
        Verdict::Longer => "longer",
        Verdict::Covered => "covered",
    }
}

fn surrogate(text: usize) -> PyErr {
    PyValueError::new_err(format!(
        "text {text} holds a lone surrogate, which is no text"
    ))
}

/// Iterates over a dump: columns of counts, columns of spans or None, and the lines that hold no text.
#[pyclass(frozen)]
struct DumpScanner {
    scan: Mutex<DumpScan>,
    lexicon: Arc<Lexicon>,
    kinds: Vec<Kind>,
    spans: bool,
}

type DumpBatch<'py> = (
    Bound<'py, PyDict>,
    Option<Bound<'py, PyDict>>,
    Vec<(u64, String)>,
);

#[pymethods]
impl DumpScanner {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<DumpBatch<'py>>> {
        let next = py.detach(|| {
            let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
            scan.next(&self.lexicon)
        });
        let Some(Scanned {
            rows,
            counts,
            spans,
            bad,
            ..
        }) = next?
        else {
            return Ok(None);
        };
        let columns = count_columns(py, &counts, &self.kinds, self.lexicon.reads_stance())?;
        let spans = if self.spans {
            let of_spans = span_columns(py, &spans)?;
            let row_of: Vec<u64> = (rows.iter().zip(&spans))
                .flat_map(|(&row, found)| std::iter::repeat_n(row, found.len()))
                .collect();
            of_spans.set_item("document", row_of.into_pyarray(py))?;
            Some(of_spans)
        } else {
            None
        };
        columns.set_item("row", rows.into_pyarray(py))?;
        let bad = bad.into_iter().map(|bad| (bad.row, bad.message)).collect();
        Ok(Some((columns, spans, bad)))
    }

    /// Bytes of the file that have been read.
    fn bytes_read(&self) -> u64 {
        let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.bytes_read()
    }

    /// Whether the lines are items of one JSON array.
    fn is_array(&self) -> bool {
        let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.is_array()
    }
}

pub fn strings<'py>(texts: &Bound<'py, PyList>) -> PyResult<Vec<Bound<'py, PyString>>> {
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

pub fn borrowed<'a>(held: &'a [Bound<'_, PyString>]) -> PyResult<Vec<&'a str>> {
    held.iter()
        .enumerate()
        .map(|(i, text)| text.to_str().map_err(|_| surrogate(i)))
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
                .and_then(|text| simdutf8::basic::from_utf8(text).ok())
                .ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "text {i} is not UTF-8, or its offsets are out of bounds"
                    ))
                })
        })
        .collect()
}

fn count_columns<'py>(
    py: Python<'py>,
    counts: &[Counts],
    kinds: &[Kind],
    stance: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let column =
        |of: &dyn Fn(&Counts) -> u32| counts.iter().map(of).collect::<Vec<u32>>().into_pyarray(py);
    out.set_item("words", column(&|c| c.words))?;
    out.set_item("sentences", column(&|c| c.sentences))?;
    for &kind in kinds {
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
    if stance {
        let readings = counts.iter().filter_map(|c| c.reading);
        let (stances, declines): (Vec<i8>, Vec<f32>) = readings
            .map(|reading| (reading.stance as i8, reading.declines))
            .unzip();
        out.set_item("stance", stances.into_pyarray(py))?;
        out.set_item("declines", declines.into_pyarray(py))?;
    }
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
    module.add("STANCES", Stance::ALL.map(Stance::name))?;
    module.add_class::<DumpScanner>()?;
    module.add_class::<Scanner>()
}
