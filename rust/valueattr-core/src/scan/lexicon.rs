//! Lexicons: TOML in, a trie of folded words out.
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
//! `<0-2>` in a pattern stands for up to two words of any kind. Groups stand for whole words and do not nest. What
//! could never match (a full stop inside a phrase, half a word beside a group) is an error, not a silent nothing.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::document::{folded_words, is_apostrophe, is_joiner, is_word, words};
use super::guard::Guards;

/// What a phrase does. Booster is the opposite of a hedge and counted beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Epistemic,
    BothSides,
    Deflection,
    AiDisclaimer,
    Caveat,
    NonAffirmation,
    Refusal,
    Booster,
}

impl Kind {
    /// Every kind, in the order of the columns.
    pub const ALL: [Self; 8] = [
        Self::Epistemic,
        Self::BothSides,
        Self::Deflection,
        Self::AiDisclaimer,
        Self::Caveat,
        Self::NonAffirmation,
        Self::Refusal,
        Self::Booster,
    ];

    /// The name in lexicons and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "epistemic",
            "both_sides",
            "deflection",
            "ai_disclaimer",
            "caveat",
            "non_affirmation",
            "refusal",
            "booster",
        ][self as usize]
    }

    /// Whether the phrase takes the place of an answer.
    #[must_use]
    pub fn is_evasive(self) -> bool {
        matches!(
            self,
            Self::BothSides
                | Self::Deflection
                | Self::AiDisclaimer
                | Self::NonAffirmation
                | Self::Refusal
        )
    }
}

/// A lexicon that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LexiconError {
    /// Counted from 1.
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
    #[serde(default, rename = "example")]
    _example: Option<String>,
    #[serde(default, rename = "source")]
    _source: Option<String>,
}

/// One entry as matching needs it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: Kind,
    pub pattern: String,
    pub strength: Option<f64>,
    pub(super) guards: Guards,
}

/// A lexicon ready to match.
#[derive(Debug, Clone)]
pub struct Lexicon {
    entries: Vec<Entry>,
    words: HashMap<String, u32>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    next: HashMap<u32, u32>,
    any: Option<u32>,
    /// Entries that end here.
    pub(super) ends: Vec<u32>,
}

/// More wordings than this of one pattern are a mistake in it.
const MOST_EXPANSIONS: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Word(String),
    Any,
}

impl Lexicon {
    /// Reads and compiles a lexicon.
    ///
    /// # Errors
    /// Names the line and what is wrong there.
    pub fn parse(source: &str) -> Result<Self, LexiconError> {
        let at = |byte: usize, message: String| LexiconError {
            line: line_of(source, byte),
            message,
        };
        let file: File = toml::from_str(source).map_err(|error| {
            at(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let mut lexicon = Self {
            entries: Vec::new(),
            words: HashMap::new(),
            nodes: vec![Node::default()],
        };
        for raw in file.entry {
            let raw = raw.into_inner();
            let place = raw.pattern.span().start;
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
            let entry = u32::try_from(lexicon.entries.len())
                .map_err(|_| at(place, "too many entries".into()))?;
            for wording in wordings {
                lexicon.insert(&wording, entry);
            }
            lexicon.entries.push(Entry {
                kind: raw.kind,
                pattern,
                strength: raw.strength.map(Spanned::into_inner),
                guards,
            });
        }
        Ok(lexicon)
    }

    /// The entries, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn word(&self, folded: &str) -> Option<u32> {
        self.words.get(folded).copied()
    }

    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    pub(super) fn step(&self, node: u32, word: Option<u32>) -> Option<u32> {
        word.and_then(|word| self.node(node).next.get(&word).copied())
    }

    pub(super) fn step_any(&self, node: u32) -> Option<u32> {
        self.node(node).any
    }

    fn insert(&mut self, wording: &[Step], entry: u32) {
        let mut node = 0;
        for step in wording {
            let fresh = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            let next = match step {
                Step::Any => *self.nodes[node].any.get_or_insert(fresh),
                Step::Word(word) => {
                    let known = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
                    let id = *self.words.entry(word.clone()).or_insert(known);
                    *self.nodes[node].next.entry(id).or_insert(fresh)
                }
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            node = next as usize;
        }
        let ends = &mut self.nodes[node].ends;
        if !ends.contains(&entry) {
            ends.push(entry);
        }
    }
}

fn line_of(source: &str, byte: usize) -> usize {
    source
        .char_indices()
        .filter(|&(at, c)| at < byte && c == '\n')
        .count()
        + 1
}

/// Every wording of a pattern.
fn expand(pattern: &str) -> Result<Vec<Vec<Step>>, String> {
    if splits_a_word(pattern) {
        return Err(format!(
            "the pattern {pattern:?} has part of a word beside a group; groups stand for whole words"
        ));
    }
    let mut wordings: Vec<Vec<Step>> = vec![Vec::new()];
    let mut rest = pattern;
    while !rest.is_empty() {
        let (choices, after) = next_part(rest, pattern)?;
        rest = after;
        if wordings.len() * choices.len() > MOST_EXPANSIONS {
            return Err(format!(
                "the pattern {pattern:?} has more than {MOST_EXPANSIONS} wordings"
            ));
        }
        wordings = wordings
            .iter()
            .flat_map(|head| {
                choices
                    .iter()
                    .map(move |tail| [head.as_slice(), tail.as_slice()].concat())
            })
            .collect();
    }
    for wording in &wordings {
        if !matches!(
            (wording.first(), wording.last()),
            (Some(Step::Word(_)), Some(Step::Word(_)))
        ) {
            return Err(format!(
                "the pattern {pattern:?} must begin and end with a word in all its wordings"
            ));
        }
    }
    Ok(wordings)
}

fn splits_a_word(pattern: &str) -> bool {
    let in_word = |c: char| is_word(c) || is_apostrophe(c);
    pattern
        .chars()
        .zip(pattern.chars().skip(1))
        .any(|(a, b)| in_word(a) && "{[<".contains(b) || "}]>".contains(a) && in_word(b))
}

/// The words of a part of a pattern.
fn literal(part: &str, pattern: &str) -> Result<Vec<Step>, String> {
    let found = words(part);
    let in_word = |at: usize| {
        found
            .iter()
            .any(|word| (word.start..word.end).contains(&at))
    };
    match part
        .char_indices()
        .find(|&(at, c)| !in_word(at) && !is_joiner(c))
    {
        Some((_, c)) => Err(format!(
            "no phrase runs through the {c:?} in the pattern {pattern:?}"
        )),
        None => Ok(folded_words(part).into_iter().map(Step::Word).collect()),
    }
}

/// The alternatives of a group.
fn alternatives(group: &str, pattern: &str) -> Result<Choices, String> {
    let choices: Choices = group
        .split('|')
        .map(|part| literal(part, pattern))
        .collect::<Result<_, _>>()?;
    if choices.iter().any(Vec::is_empty) {
        return Err(format!(
            "the pattern {pattern:?} has an empty alternative; write [word] for what may be left out"
        ));
    }
    Ok(choices)
}

type Choices = Vec<Vec<Step>>;

/// The first part of a pattern, as the step sequences that it may stand for, and what follows it.
fn next_part<'a>(rest: &'a str, pattern: &str) -> Result<(Choices, &'a str), String> {
    let close = |mark: char| {
        rest.find(mark).ok_or_else(|| {
            format!(
                "the pattern {pattern:?} opens {:?} and never closes it",
                &rest[..1]
            )
        })
    };
    match rest.as_bytes()[0] {
        b'{' => {
            let end = close('}')?;
            Ok((alternatives(&rest[1..end], pattern)?, &rest[end + 1..]))
        }
        b'[' => {
            let end = close(']')?;
            let mut choices = alternatives(&rest[1..end], pattern)?;
            choices.push(Vec::new());
            Ok((choices, &rest[end + 1..]))
        }
        b'<' => {
            let end = close('>')?;
            let bounds = rest[1..end]
                .split_once('-')
                .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            match bounds {
                Some((least, most)) if least <= most && most <= 8usize => Ok((
                    (least..=most).map(|n| vec![Step::Any; n]).collect(),
                    &rest[end + 1..],
                )),
                _ => Err(format!(
                    "the gap {:?} in {pattern:?} is not <least-most> with most up to 8",
                    &rest[..=end]
                )),
            }
        }
        b'}' | b']' | b'>' => Err(format!(
            "the pattern {pattern:?} closes {:?} without opening it",
            &rest[..1]
        )),
        _ => {
            let end = rest
                .find(['{', '[', '<', '}', ']', '>'])
                .unwrap_or(rest.len());
            Ok((vec![literal(&rest[..end], pattern)?], &rest[end..]))
        }
    }
}
