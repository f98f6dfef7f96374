//! The compiled parts of valueattr: [`scan`] counts hedging phrases, [`dump`] reads them from files, [`store`] keeps activations
//! on disk, [`probe`] fits linear probes. Nothing here knows Python.

#![warn(clippy::pedantic)]

pub mod answer;
#[cfg(test)]
mod directions;
pub mod dump;
pub mod probe;
pub mod scan;
pub mod store;
