//! Reading answers: one reader for questions that share their objects. Results are columns.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use valueattr_core::answer::{Asked, Reader, Reading, Rule, Scratch, Verdict};

use crate::scan::{borrowed, strings};

/// A reader of answers that may assert one of several objects.
#[pyclass(frozen)]
struct AnswerReader(Reader);

#[pymethods]
impl AnswerReader {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "what Python hands over")]
    fn new(answers: Vec<Vec<String>>, subjects: Vec<Vec<String>>) -> Self {
        Self(Reader::new(&answers, &subjects))
    }

    /// Columns of verdicts, objects (-1: none), rules (-1: none) and spans; `of` says which question each response is to.
    fn read<'py>(
        &self,
        py: Python<'py>,
        responses: &Bound<'py, PyList>,
        of: PyReadonlyArray1<'py, u32>,
        questions: Vec<(String, Option<u32>)>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let held = strings(responses)?;
        let texts = borrowed(&held)?;
        let of = of.as_slice()?;
        if of.len() != texts.len() || of.iter().any(|&i| i as usize >= questions.len()) {
            return Err(PyValueError::new_err(
                "each response needs one of the questions",
            ));
        }
        let readings = py.detach(|| {
            let asked: Vec<(Asked, Option<u32>)> = questions
                .iter()
                .map(|(text, subject)| (self.0.asked(text), *subject))
                .collect();
            let mut scratch = Scratch::default();
            let read = |(text, &i): (&&str, &u32)| {
                let (asked, subject) = &asked[i as usize];
                self.0.read(text, asked, *subject, &mut scratch)
            };
            texts.iter().zip(of).map(read).collect::<Vec<Reading>>()
        });
        let out = PyDict::new(py);
        let number = |n: Option<u32>| n.map_or(Ok(-1), i32::try_from);
        let objects: Result<Vec<i32>, _> = readings.iter().map(|r| number(r.object)).collect();
        let objects = objects.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        out.set_item(
            "verdict",
            readings
                .iter()
                .map(|r| r.verdict as u8)
                .collect::<Vec<_>>()
                .into_pyarray(py),
        )?;
        out.set_item("object", objects.into_pyarray(py))?;
        let rules = readings
            .iter()
            .map(|r| r.rule.map_or(-1, |rule| rule as i8));
        out.set_item("rule", rules.collect::<Vec<_>>().into_pyarray(py))?;
        out.set_item(
            "start",
            readings
                .iter()
                .map(|r| r.start)
                .collect::<Vec<_>>()
                .into_pyarray(py),
        )?;
        out.set_item(
            "end",
            readings
                .iter()
                .map(|r| r.end)
                .collect::<Vec<_>>()
                .into_pyarray(py),
        )?;
        Ok(out)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("READINGS", Verdict::ALL.map(Verdict::name))?;
    module.add("READING_RULES", Rule::ALL.map(Rule::name))?;
    module.add_class::<AnswerReader>()
}
