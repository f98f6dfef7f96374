//! Reads what answers in a model's own words assert: which of known objects, by names, dates and numbers.
//!
//! A text is cut into words that compare equal where people read the same ([`words`]), which become numbers
//! ([`vocabulary`]). Names are found in them as a whole, or else by looser rules ([`names`], [`dates`], [`spellings`]).
//! What stands around a mention says whether the answer asserts or denies it ([`cues`], [`standing`]); what is claimed
//! nearest to the question is what the answer asserts ([`reader`]).

mod cues;
mod dates;
mod names;
mod reader;
mod roles;
mod spellings;
mod standing;
mod vocabulary;
mod words;

pub use names::{Asked, Rule};
pub use reader::{Reader, Reading, Scratch, Verdict};

#[cfg(test)]
mod tests;
