//! What was fitted: the arrays of a batch, and the one fit that each solver hands over.

use std::borrow::Cow;

use super::problem::Spec;

/// The fitted batch: arrays in C order over (penalty, label set, weight set), then the axes given.
#[derive(Clone, Debug, Default)]
pub struct Fits {
    pub classes: usize,
    /// Columns per fit: 1 for two classes (the score of class 1), else one per class.
    pub width: usize,
    /// (..., width, features), on standardised features. Zero for a class without a training row.
    pub coefficients: Vec<f64>,
    /// (..., width); softmax intercepts sum to 0, a class without a training row has -inf.
    pub intercepts: Vec<f64>,
    /// Shape (weight set, features), like `scale`, which is 1 unless the features were standardised.
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
    pub converged: Vec<bool>,
    pub iterations: Vec<u32>,
    /// The minimised objective, as in the formula of [`probe`](crate::probe); NaN where nothing is minimised.
    pub objective: Vec<f64>,
    /// The norm of the objective's gradient, computed in f64.
    pub gradient_norm: Vec<f64>,
}

impl Fits {
    pub(super) fn of_classes(specs: &[Spec]) -> Self {
        let classes = specs[0].column_of.len();
        Self {
            classes,
            width: if classes == 2 { 1 } else { classes },
            ..Self::default()
        }
    }

    /// Adds every fit of a batch, and the mean and scale of every weight set.
    pub(super) fn filled(
        mut self,
        specs: &[Spec],
        fits: &[Fit],
        units: (Vec<f64>, Vec<f64>),
    ) -> Self {
        (self.mean, self.scale) = units;
        for (spec, fit) in specs.iter().zip(fits) {
            self.push(spec, fit);
        }
        self
    }

    fn push(&mut self, spec: &Spec, fit: &Fit) {
        self.converged.push(fit.converged);
        self.iterations.push(fit.iterations);
        self.objective.push(fit.objective);
        self.gradient_norm.push(fit.gradient_norm);
        let length = fit.theta.len() / spec.width;
        let mut push = |column: &[f64]| {
            self.coefficients.extend_from_slice(&column[..length - 1]);
            self.intercepts.push(column[length - 1]);
        };
        if self.width == 1 {
            return push(&fit.theta);
        }
        let mut absent = vec![0.0; length];
        absent[length - 1] = f64::NEG_INFINITY;
        let columns = if spec.width == 1 {
            // Two classes of more: half the score each way.
            let halves = [-0.5, 0.5].iter();
            let scaled = halves.flat_map(|half| fit.theta.iter().map(move |v| half * v));
            Cow::Owned(scaled.collect())
        } else {
            Cow::Borrowed(&fit.theta)
        };
        for column in &spec.column_of {
            push(column.map_or(&absent, |c| &columns[c * length..][..length]));
        }
    }
}

/// One fit of a batch.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Per column the coefficients, then the intercept.
    pub theta: Vec<f64>,
    pub converged: bool,
    pub iterations: u32,
    pub objective: f64,
    pub gradient_norm: f64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            theta: Vec::new(),
            converged: true,
            iterations: 0,
            objective: f64::NAN,
            gradient_norm: f64::NAN,
        }
    }
}
