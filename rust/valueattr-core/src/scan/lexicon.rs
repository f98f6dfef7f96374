//! Lexicons: TOML in, entries and a trie of their wordings out.
//!
//! ```toml
//! [[entry]]
//! kind = "epistemic"
//! pattern = "{it|this} {may|might} [well] be"   # alternatives; [a|b] may also be left out
//! guards = ["negation", "quotation"]
//! unless_before = ["in"]      # not if this word stands right before
//! unless_after = ["#"]        # not if this word stands right after; # is any number
//! strength = 0.4              # 0 (weakest hedge) to 1
//! example = "It may well be too late."
//! ```

use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::guard::Guards;
use super::index::{TooMany, check_length, small};
use super::kind::Kind;
use super::pattern::expand;
use super::trie::{Builder, End, Trie};

/// The lexicon that ships with the crate.
pub const ENGLISH: &str = include_str!("../../lexicon/en.toml");

/// A lexicon that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LexiconError {
    /// The line, counted from 1.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for LexiconError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    entry: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    kind: Kind,
    pattern: Spanned<String>,
    #[serde(default)]
    guards: Vec<Spanned<String>>,
    #[serde(default)]
    unless_before: Vec<Spanned<String>>,
    #[serde(default)]
    unless_after: Vec<Spanned<String>>,
    strength: Option<Spanned<f64>>,
    #[serde(default)]
    example: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

/// One entry as matching needs it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: Kind,
    pub pattern: String,
    pub strength: Option<f64>,
    pub example: Option<String>,
    pub source: Option<String>,
    /// The line of its pattern, counted from 1.
    pub line: usize,
    pub(super) guards: Guards,
}

/// A lexicon ready to match.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: Vec<Entry>,
    trie: Trie,
    stance: bool,
}

impl Lexicon {
    /// Reads and compiles a lexicon; entries of kind [`Kind::Modal`] are left out unless `modal`, those that only a
    /// stance is read from unless `stance`.
    ///
    /// # Errors
    /// Names the line and what is wrong there.
    pub fn parse(source: &str, modal: bool, stance: bool) -> Result<Self, LexiconError> {
        let at = |byte: usize, message: String| LexiconError {
            line: line_of(source, byte),
            message,
        };
        check_length(source.len()).map_err(|error| at(0, error.to_string()))?;
        let file: File = toml::from_str(source).map_err(|error| {
            at(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let mut entries = Vec::new();
        // Lines are counted from entry to entry: lexicons may have many.
        let (mut line, mut counted) = (1, 0);
        let mut trie = Builder::new();
        for raw in file.entry {
            let raw = raw.into_inner();
            let place = raw.pattern.span().start;
            line += newlines(&source[counted..place]);
            counted = place;
            if let Some(strength) = raw
                .strength
                .as_ref()
                .filter(|s| !(0.0..=1.0).contains(s.get_ref()))
            {
                return Err(at(
                    strength.span().start,
                    format!("strength {} is not in 0 to 1", strength.get_ref()),
                ));
            }
            let mut guards = Guards::default();
            for name in &raw.guards {
                (guards.add(name.get_ref())).map_err(|message| at(name.span().start, message))?;
            }
            for word in &raw.unless_before {
                (guards.unless_before(word.get_ref()))
                    .map_err(|message| at(word.span().start, message))?;
            }
            for word in &raw.unless_after {
                (guards.unless_after(word.get_ref()))
                    .map_err(|message| at(word.span().start, message))?;
            }
            let pattern = raw.pattern.into_inner();
            let wordings = expand(&pattern).map_err(|message| at(place, message))?;
            if raw.kind == Kind::Modal && !modal || raw.kind.is_of_stance() && !stance {
                continue;
            }
            let too_many = |error: TooMany| at(place, error.to_string());
            let entry = small(entries.len()).map_err(too_many)?;
            let end = End {
                entry,
                kind: raw.kind,
                guarded: !guards.is_empty(),
            };
            for wording in wordings {
                trie.insert(&wording, end).map_err(too_many)?;
            }
            entries.push(Entry {
                kind: raw.kind,
                pattern,
                strength: raw.strength.map(Spanned::into_inner),
                example: raw.example,
                source: raw.source,
                line,
                guards,
            });
        }
        Ok(Self {
            entries,
            stance,
            trie: trie.build().map_err(|error| at(0, error.to_string()))?,
        })
    }

    /// The entries, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a stance is read.
    #[must_use]
    pub fn reads_stance(&self) -> bool {
        self.stance
    }

    pub(super) fn trie(&self) -> &Trie {
        &self.trie
    }
}

fn newlines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

fn line_of(source: &str, byte: usize) -> usize {
    newlines(&source[..byte]) + 1
}
