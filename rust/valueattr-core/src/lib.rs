//! The compiled parts of valueattr: [`scan`] counts hedging phrases, [`store`] keeps activations
//! on disk, [`probe`] fits linear probes. Nothing here knows Python.

#![warn(clippy::pedantic)]

pub mod probe;
pub mod scan;
pub mod store;
