//! Guards: why a phrase that is there does not count.

use std::collections::HashSet;

use super::document::{Word, fold, folded_words};

/// Words before a phrase in which a negation turns it round ("I do not think").
const NEGATION_REACH: usize = 2;

#[derive(Debug, Clone, Default)]
pub struct Guards {
    negation: bool,
    quotation: bool,
    unless_before: HashSet<String>,
    unless_after: HashSet<String>,
}

impl Guards {
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        match name {
            "negation" => self.negation = true,
            "quotation" => self.quotation = true,
            _ => {
                return Err(format!(
                    "unknown guard {name:?}; known: negation, quotation"
                ));
            }
        }
        Ok(())
    }

    pub fn unless_before(&mut self, word: &str) -> Result<(), String> {
        self.unless_before.insert(listed_word(word)?);
        Ok(())
    }

    pub fn unless_after(&mut self, word: &str) -> Result<(), String> {
        self.unless_after.insert(listed_word(word)?);
        Ok(())
    }

    /// Whether the phrase from word `first` to word `last` counts.
    pub fn pass(&self, text: &str, words: &[Word], first: usize, last: usize) -> bool {
        !(self.quotation && words[first].quoted
            || self.negation && is_negated(text, words, first)
            || !self.unless_before.is_empty()
                && words[first].joined
                && listed(&self.unless_before, text, &words[first - 1])
            || !self.unless_after.is_empty()
                && words
                    .get(last + 1)
                    .is_some_and(|next| next.joined && listed(&self.unless_after, text, next)))
    }
}

/// A word as it is compared; `#` stands for any number.
fn listed_word(word: &str) -> Result<String, String> {
    if word == "#" {
        return Ok(word.to_owned());
    }
    <[String; 1]>::try_from(folded_words(word))
        .map(|[word]| word)
        .map_err(|_| format!("{word:?} is not one word; list words one by one, # for any number"))
}

fn folded(text: &str, word: &Word) -> String {
    text[word.start..word.end].chars().map(fold).collect()
}

fn listed(set: &HashSet<String>, text: &str, word: &Word) -> bool {
    let word = folded(text, word);
    set.contains(&word) || set.contains("#") && word.starts_with(|c: char| c.is_ascii_digit())
}

fn is_negated(text: &str, words: &[Word], first: usize) -> bool {
    words[first.saturating_sub(NEGATION_REACH)..first]
        .iter()
        .any(|word| {
            word.sentence == words[first].sentence && {
                let word = folded(text, word);
                matches!(word.as_str(), "not" | "never" | "no" | "cannot") || word.ends_with("n't")
            }
        })
}
