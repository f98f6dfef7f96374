//! The threads of a call, and whether it is still wanted.

use std::num::NonZero;
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::ProbeError;
use super::tiles::chunks;

/// How a call runs.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The most threads to start; 0 is one per core.
    pub threads: usize,
    /// Whether to give up. It is asked between passes over the data, on the calling thread.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// Threads of its own for each call: nothing to inherit by a fork, nothing idle afterwards.
pub(super) struct Workers<'a> {
    pool: ThreadPool,
    interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Workers<'a> {
    /// Starts threads, but no more than `rows` give something to do.
    pub(super) fn new(run: Run<'a>, rows: usize) -> Result<Self, ProbeError> {
        let threads = if run.threads == 0 {
            available_parallelism().map_or(1, NonZero::get)
        } else {
            run.threads
        };
        let threads = threads.min(chunks(rows));
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Self {
            pool: pool.map_err(|e| ProbeError::Threads {
                threads,
                reason: e.to_string(),
            })?,
            interrupted: run.interrupted,
        })
    }

    pub(super) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Parallel work, unless the call is to be given up.
    pub(super) fn install<R: Send>(
        &self,
        work: impl FnOnce() -> R + Send,
    ) -> Result<R, ProbeError> {
        if (self.interrupted)() {
            return Err(ProbeError::Interrupted);
        }
        Ok(self.pool.install(work))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::probe::{Linear, Options, Problem, Rows, fit_linear, fit_logistic};

    #[test]
    fn a_call_ends_at_the_first_yes() {
        let values = [1.0, 2.0, 3.0, 5.0, 4.0, 4.5];
        let problem = Problem {
            x: Rows::Memory {
                values: &values,
                features: 1,
            },
            labels: &[0, 1, 0, 1, 1, 0],
            weights: None,
            l2: &[0.1, 1.0],
        };
        let options = Options {
            standardize: true,
            tol: 1e-6,
            max_iter: 100,
        };
        for yes in 1..=4 {
            let asked = Cell::new(0);
            let run = Run {
                threads: 1,
                interrupted: &|| {
                    asked.set(asked.get() + 1);
                    asked.get() == yes
                },
            };
            let fits = fit_logistic(&problem, &options, run);
            assert!(matches!(fits, Err(ProbeError::Interrupted)), "{fits:?}");
            assert_eq!(asked.replace(0), yes);
            let fits = fit_linear(&problem, Linear::Ridge, true, run);
            assert!(matches!(fits, Err(ProbeError::Interrupted)), "{fits:?}");
            assert_eq!(asked.get(), yes);
        }
    }
}
