//! Patterns of a lexicon: what wordings they stand for.
//!
//! `{a|b}` is one of these, `[a|b]` one of these or nothing, `<0-2>` up to two words of any kind. Groups stand for whole
//! words and do not nest. What could never match (a full stop inside a phrase, half a word beside a group) is an error,
//! not a silent nothing.

use super::characters::{is_apostrophe, is_joiner, is_word};
use super::folding::folded;
use super::words::words;

/// More wordings than this of one pattern are a mistake in it.
const MOST_EXPANSIONS: usize = 20_000;

/// One place in a wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A folded word.
    Word(String),
    Any,
}

/// Every wording of a pattern.
pub fn expand(pattern: &str) -> Result<Vec<Vec<Element>>, String> {
    if splits_a_word(pattern) {
        return Err(format!(
            "the pattern {pattern:?} has part of a word beside a group; groups stand for whole words"
        ));
    }
    let mut wordings: Vec<Vec<Element>> = vec![Vec::new()];
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
            (Some(Element::Word(_)), Some(Element::Word(_)))
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
fn literal(part: &str, pattern: &str) -> Result<Vec<Element>, String> {
    let found = words(part);
    let in_word = |at: usize| {
        let begun = found.partition_point(|word| word.start <= at);
        begun > 0 && at < found[begun - 1].end
    };
    match part
        .char_indices()
        .find(|&(at, c)| !in_word(at) && !is_joiner(c))
    {
        Some((_, c)) => Err(format!(
            "no phrase runs through the {c:?} in the pattern {pattern:?}"
        )),
        None => Ok(found
            .iter()
            .map(|word| Element::Word(folded(&part[word.start..word.end])))
            .collect()),
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

type Choices = Vec<Vec<Element>>;

/// The first part of a pattern, as the sequences of elements that it may stand for, and what follows it.
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
                    (least..=most).map(|n| vec![Element::Any; n]).collect(),
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
