//! L-BFGS for one fit of the batch, driven from outside: it asks for evaluations and for the
//! preconditioner, so that both can be done for all fits in one matrix product.
//!
//! Nocedal and Wright, Numerical Optimization (2006), algorithm 7.4. The objective is convex, so a
//! step is judged by its end: past the minimum along the direction only if the slope there is positive.

use std::collections::VecDeque;

use super::linalg::dot;
use super::objective::Evaluation;

const MEMORY: usize = 10;
/// Share of the predicted decrease that a step has to reach.
const SUFFICIENT_DECREASE: f64 = 1e-4;
const MAX_TRIALS: u32 = 25;

/// What came of the point that was tried, and so what the fit needs next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trial {
    /// It was taken: test convergence, then precondition.
    Taken,
    /// Too long; a shorter one is set up.
    Shortened,
    /// No shorter step helps: rounding is all that is left.
    Stuck,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse_product: f64,
}

pub(super) struct Lbfgs {
    theta: Vec<f64>,
    value: f64,
    pub gradient: Vec<f64>,
    pub curvature: Vec<f64>,
    pub iterations: u32,
    direction: Vec<f64>,
    slope: f64,
    length: f64,
    trials: u32,
    trial: Vec<f64>,
    pairs: VecDeque<Pair>,
    /// Relative rounding error of the value.
    pub rounding: f64,
}

impl Lbfgs {
    /// `trial()` has to be evaluated first.
    pub(super) fn new(theta: Vec<f64>, rounding: f64) -> Self {
        Self {
            trial: theta.clone(),
            theta,
            value: f64::INFINITY,
            gradient: Vec::new(),
            curvature: Vec::new(),
            iterations: 0,
            direction: Vec::new(),
            slope: 0.0,
            length: 0.0,
            trials: 0,
            pairs: VecDeque::new(),
            rounding,
        }
    }

    pub(super) fn trial(&self) -> &[f64] {
        &self.trial
    }

    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// How far the value is from its least, by the direction that was set up: half its slope (the Newton decrement).
    pub(super) fn decrement(&self) -> f64 {
        -self.slope / 2.0
    }

    pub(super) fn gradient_norm(&self) -> f64 {
        dot(&self.gradient, &self.gradient).sqrt()
    }

    /// Ask for the same point again, with another rounding error.
    pub(super) fn restart(&mut self, rounding: f64) {
        self.rounding = rounding;
        self.value = f64::INFINITY;
        self.trial.clone_from(&self.theta);
    }

    pub(super) fn receive(&mut self, at: Evaluation) -> Trial {
        let first = self.value.is_infinite();
        if !first {
            let slope = dot(&at.gradient, &self.direction);
            let predicted = SUFFICIENT_DECREASE * self.length * self.slope;
            let noise = self.rounding * self.value.abs();
            let accepted = slope <= 0.0
                || at.value <= self.value + predicted
                || (slope <= -0.5 * self.slope && at.value <= self.value + noise);
            if !accepted {
                return self.shorten(slope);
            }
            self.remember(&at.gradient);
            self.iterations += 1;
        }
        self.theta.clone_from(&self.trial);
        self.value = at.value;
        self.gradient = at.gradient;
        self.curvature = at.curvature;
        Trial::Taken
    }

    /// Shortens the step to where the secant puts the zero of the slope, but to a tenth at least and a half at most.
    fn shorten(&mut self, slope: f64) -> Trial {
        self.trials += 1;
        if self.trials == MAX_TRIALS {
            return Trial::Stuck;
        }
        let secant = self.slope / (self.slope - slope);
        // A score that overflowed has no slope.
        let factor = if secant.is_finite() {
            secant.clamp(0.1, 0.5)
        } else {
            0.1
        };
        self.set_length(self.length * factor);
        Trial::Shortened
    }

    fn set_length(&mut self, length: f64) {
        self.length = length;
        for ((trial, theta), direction) in
            self.trial.iter_mut().zip(&self.theta).zip(&self.direction)
        {
            *trial = theta + length * direction;
        }
    }

    fn remember(&mut self, gradient: &[f64]) {
        let step: Vec<f64> = self
            .trial
            .iter()
            .zip(&self.theta)
            .map(|(t, o)| t - o)
            .collect();
        let change: Vec<f64> = gradient
            .iter()
            .zip(&self.gradient)
            .map(|(g, o)| g - o)
            .collect();
        let product = dot(&step, &change);
        if product <= f64::EPSILON * (dot(&step, &step) * dot(&change, &change)).sqrt() {
            return;
        }
        if self.pairs.len() == MEMORY {
            self.pairs.pop_front();
        }
        self.pairs.push_back(Pair {
            step,
            change,
            inverse_product: product.recip(),
        });
    }

    /// First half of the two-loop recursion; `finish` takes the result, preconditioned.
    pub(super) fn begin(&self) -> (Vec<f64>, Vec<f64>) {
        let mut q = self.gradient.clone();
        let alphas = self
            .pairs
            .iter()
            .rev()
            .map(|pair| {
                let alpha = pair.inverse_product * dot(&pair.step, &q);
                axpy(&mut q, -alpha, &pair.change);
                alpha
            })
            .collect();
        (q, alphas)
    }

    /// Second half; sets up the full step.
    pub(super) fn finish(&mut self, mut q: Vec<f64>, alphas: &[f64]) {
        for (pair, alpha) in self.pairs.iter().zip(alphas.iter().rev()) {
            let beta = pair.inverse_product * dot(&pair.change, &q);
            axpy(&mut q, alpha - beta, &pair.step);
        }
        for entry in &mut q {
            *entry = -*entry;
        }
        self.slope = dot(&self.gradient, &q);
        self.direction = q;
        self.trials = 0;
        self.set_length(1.0);
    }

    pub(super) fn into_theta(self) -> Vec<f64> {
        self.theta
    }
}

fn axpy(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
