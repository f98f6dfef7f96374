//! Walks the trie from every word of a text.

use super::document::{Word, fold, words};
use super::lexicon::{Kind, Lexicon};

/// A phrase that counts. `start` and `end` are characters of the text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub kind: Kind,
    /// Index into [`Lexicon::entries`].
    pub entry: u32,
    pub start: u32,
    pub end: u32,
    /// Index of the sentence that it starts in.
    pub sentence: u32,
}

/// What a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub words: u32,
    pub sentences: u32,
    /// In the order of [`Kind::ALL`].
    pub kinds: [u32; 8],
    /// Character where the first hedge (of any kind but booster) starts.
    pub first_hedge: Option<u32>,
    /// Whether every sentence holds a phrase that takes the place of an answer, and there is one.
    pub hedge_only: bool,
}

pub fn count(lexicon: &Lexicon, text: &str) -> Counts {
    let words = words(text);
    let spans = find(lexicon, text, &words);
    let sentences = words.last().map_or(0, |word| word.sentence + 1);
    let mut counts = Counts {
        words: small(words.len()),
        sentences,
        ..Counts::default()
    };
    let mut evaded = vec![false; sentences as usize];
    for span in &spans {
        counts.kinds[span.kind as usize] += 1;
        evaded[span.sentence as usize] |= span.kind.is_evasive();
    }
    counts.first_hedge = spans
        .iter()
        .filter(|span| span.kind != Kind::Booster)
        .map(|span| span.start)
        .min();
    counts.hedge_only = !evaded.is_empty() && evaded.iter().all(|&sentence| sentence);
    counts
}

pub fn spans(lexicon: &Lexicon, text: &str) -> Vec<Span> {
    find(lexicon, text, &words(text))
}

/// Counts fit: a text of 4 GiB words is refused long before by the memory it takes.
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn find(lexicon: &Lexicon, text: &str, words: &[Word]) -> Vec<Span> {
    let mut folded = String::new();
    let ids: Vec<Option<u32>> = words
        .iter()
        .map(|word| {
            folded.clear();
            folded.extend(text[word.start..word.end].chars().map(fold));
            lexicon.word(&folded)
        })
        .collect();
    let mut spans = Vec::new();
    let mut free_from = [0usize; 8];
    let mut paths: Vec<(u32, usize)> = Vec::new();
    for first in 0..words.len() {
        let Some(node) = lexicon.step(0, ids[first]) else {
            continue;
        };
        let mut best: [Option<(usize, u32)>; 8] = [None; 8];
        paths.clear();
        paths.push((node, first));
        while let Some((node, last)) = paths.pop() {
            for &entry in &lexicon.node(node).ends {
                let found = &lexicon.entries()[entry as usize];
                let slot = &mut best[found.kind as usize];
                let longer =
                    slot.is_none_or(|(end, other)| last > end || last == end && entry < other);
                if longer
                    && first >= free_from[found.kind as usize]
                    && found.guards.pass(text, words, first, last)
                {
                    *slot = Some((last, entry));
                }
            }
            if words.get(last + 1).is_some_and(|next| next.joined) {
                paths.extend(
                    lexicon
                        .step(node, ids[last + 1])
                        .map(|node| (node, last + 1)),
                );
                paths.extend(lexicon.step_any(node).map(|node| (node, last + 1)));
            }
        }
        for kind in Kind::ALL {
            if let Some((last, entry)) = best[kind as usize] {
                free_from[kind as usize] = last + 1;
                spans.push(Span {
                    kind,
                    entry,
                    start: words[first].first_char,
                    end: words[last].last_char,
                    sentence: words[first].sentence,
                });
            }
        }
    }
    spans
}
