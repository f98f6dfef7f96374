//! Paths into JSON, such as `choices.0.message.content`.

/// A step into JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    Key(String),
    /// An index into an array, or a key of digits in an object.
    Index(usize),
}

impl PathStep {
    /// The steps of a dotted path such as `choices.0.message.content`.
    #[must_use]
    pub fn path(dotted: &str) -> Vec<Self> {
        dotted
            .split('.')
            .map(|step| index(step).map_or_else(|| Self::Key(step.to_owned()), Self::Index))
            .collect()
    }

    /// Whether it leads to this key of an object.
    pub(super) fn is_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Index(own) => index(key) == Some(*own),
        }
    }
}

/// An index as it is written: digits without a sign, and without a zero before them.
fn index(step: &str) -> Option<usize> {
    let written_so = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| written_so)
}

/// The path as it was written.
pub(super) fn dotted(path: &[PathStep]) -> String {
    let steps = path.iter().map(|step| match step {
        PathStep::Key(key) => key.clone(),
        PathStep::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join(".")
}
