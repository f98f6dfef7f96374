//! Finds the phrases of a text, from word to word.
//!
//! The filter of the trie leaves a word in twenty or so; from those the trie is walked, and the guards are asked of
//! what it finds. A text is read a window at a time, so that what is kept of it is small however long it is.

use super::candidates::{Candidates, Find};
use super::guard::{Guard, NEGATION_REACH, Place, Surroundings, joined};
use super::index::{check_length, within_text};
use super::kind::Kind;
use super::lexicon::Lexicon;
use super::stance::{self, Features, Found, Opening, Phrase, Reading};
use super::trie::{End, NodeId, ROOT};
use super::words::{Segmenter, Words};

/// 8 KiB: text, words and filter stay in the first-level cache.
const WINDOW_BLOCKS: usize = 128;

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
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counts {
    pub words: u32,
    pub sentences: u32,
    /// In the order of [`Kind::ALL`].
    pub kinds: [u32; Kind::ALL.len()],
    /// Character where the first hedge (of any kind but booster) starts.
    pub first_hedge: Option<u32>,
    /// Whether every sentence holds a phrase that takes the place of an answer, and there is one.
    pub hedge_only: bool,
    /// If the lexicon reads stances.
    pub reading: Option<Reading>,
}

/// Why a phrase of the lexicon that stands in a text counts or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Counts,
    Silenced(Guard),
    /// A longer phrase of its kind begins at the same word, or an entry of its kind with the same words comes first.
    Longer,
    /// A phrase of its kind that begins before it covers its beginning.
    Covered,
}

/// The memory that scanning needs, kept from text to text to save allocations.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    words: Words,
    candidates: Candidates,
    paths: Vec<(NodeId, usize)>,
    found: Vec<Match>,
    opening: Opening,
    phrases: Vec<Phrase>,
}

impl Scratch {
    /// What was found in the text that was counted last, by a lexicon that reads stances.
    fn found_in<'a>(&'a self, text: &'a str) -> Found<'a> {
        Found {
            text,
            opening: &self.opening,
            phrases: &self.phrases,
        }
    }
}

/// A phrase that begins at the word looked at.
#[derive(Debug, Clone, Copy)]
struct Match {
    end: End,
    last: usize,
}

/// A phrase in bytes, and what came of it.
struct Hit {
    kind: Kind,
    entry: u32,
    start: usize,
    end: usize,
    sentence: u32,
    /// Whether all of the text up to its end is ASCII: bytes are characters there.
    ascii: bool,
}

/// Words and sentences of a text.
struct Size {
    words: usize,
    sentences: usize,
}

impl Lexicon {
    /// What a text holds.
    ///
    /// # Panics
    /// The text is too long: [`check_length`] does not let it pass.
    pub fn count(&self, text: &str, scratch: &mut Scratch) -> Counts {
        let mut counts = Counts::default();
        let (mut first_hedge, mut evaded, mut last_evaded) = (None, 0, u32::MAX);
        let mut phrases = std::mem::take(&mut scratch.phrases);
        phrases.clear();
        let size = scan(self, text, scratch, |hit, verdict| {
            if verdict != Verdict::Counts {
                return;
            }
            if self.reads_stance() {
                phrases.push(Phrase {
                    kind: hit.kind,
                    sentence: hit.sentence,
                    end: hit.end,
                });
            }
            counts.kinds[hit.kind as usize] += 1;
            if hit.kind.is_hedge() && first_hedge.is_none() {
                first_hedge = Some(if hit.ascii {
                    hit.start
                } else {
                    characters(&text[..hit.start])
                });
            }
            if hit.kind.is_evasive() && hit.sentence != last_evaded {
                last_evaded = hit.sentence;
                evaded += 1;
            }
        });
        counts.words = within_text(size.words);
        counts.sentences = within_text(size.sentences);
        counts.first_hedge = first_hedge.map(within_text);
        counts.hedge_only = evaded > 0 && evaded == size.sentences;
        scratch.phrases = phrases;
        if self.reads_stance() {
            counts.reading = Some(scratch.found_in(text).read());
        }
        counts
    }

    /// What the stance of a text is judged by.
    ///
    /// # Panics
    /// The text is too long: [`check_length`] does not let it pass.
    pub fn stance_features(&self, text: &str, scratch: &mut Scratch) -> Features {
        self.count(text, scratch);
        scratch.found_in(text).features()
    }

    /// How much each feature of a text speaks for a refusal.
    ///
    /// # Panics
    /// The text is too long: [`check_length`] does not let it pass.
    pub fn stance_reasons(&self, text: &str, scratch: &mut Scratch) -> Features {
        stance::reasons(&self.stance_features(text, scratch))
    }

    /// The phrases that count, sorted by start, then kind.
    ///
    /// # Panics
    /// The text is too long: [`check_length`] does not let it pass.
    pub fn spans(&self, text: &str, scratch: &mut Scratch) -> Vec<Span> {
        let mut spans = Vec::new();
        self.explain_into(text, scratch, |span, verdict| {
            if verdict == Verdict::Counts {
                spans.push(span);
            }
        });
        spans
    }

    /// Every phrase of the lexicon that stands in the text, and whether it counts; sorted by start.
    ///
    /// # Panics
    /// The text is too long: [`check_length`] does not let it pass.
    pub fn explain(&self, text: &str, scratch: &mut Scratch) -> Vec<(Span, Verdict)> {
        let mut all = Vec::new();
        self.explain_into(text, scratch, |span, verdict| all.push((span, verdict)));
        all
    }

    fn explain_into(&self, text: &str, scratch: &mut Scratch, mut take: impl FnMut(Span, Verdict)) {
        let mut counted = CharactersBefore::default();
        scan(self, text, scratch, |hit, verdict| {
            let (start, end) = counted.characters_of(text, hit);
            let span = Span {
                kind: hit.kind,
                entry: hit.entry,
                start: within_text(start),
                end: within_text(end),
                sentence: hit.sentence,
            };
            take(span, verdict);
        });
    }
}

/// Calls `take` with every phrase that stands in the text.
fn scan(
    lexicon: &Lexicon,
    text: &str,
    scratch: &mut Scratch,
    mut take: impl FnMut(&Hit, Verdict),
) -> Size {
    let mut size = Size {
        words: 0,
        sentences: 0,
    };
    if let Err(error) = check_length(text.len()) {
        panic!("{error}");
    }
    let mut segmenter = Segmenter::new();
    let mut search = Search::new(lexicon, text);
    scratch.words.clear();
    scratch.opening.clear();
    let mut from = 0;
    loop {
        let more = segmenter.read(text, WINDOW_BLOCKS, &mut scratch.words);
        search.ascii = segmenter.is_ascii();
        // A word is looked at when all that a phrase from there may hold, and the word after that, have been read.
        let ready = if more {
            scratch.words.len().saturating_sub(lexicon.trie().longest())
        } else {
            scratch.words.len()
        };
        if ready > from {
            let find = Find {
                filter: lexicon.trie().filter(),
                ascii_lexicon: lexicon.trie().is_ascii(),
                text,
                words: &scratch.words,
                from,
                to: ready,
                out: &mut scratch.candidates,
            };
            find.now();
            if lexicon.reads_stance() && from == 0 {
                scratch
                    .opening
                    .keep(&scratch.words, scratch.candidates.hashes());
            }
            for i in 0..scratch.candidates.found().len() {
                search.at(scratch.candidates.found()[i] as usize, scratch, &mut take);
            }
            from = ready;
        }
        if !more {
            size.words += scratch.words.len();
            size.sentences = search.sentences_before + scratch.words.sentences().len();
            return size;
        }
        let known = from.saturating_sub(NEGATION_REACH);
        size.words += known;
        from -= known;
        search.sentences_before += search.sentence;
        scratch.words.forget(known, search.sentence);
        search.sentence = 0;
    }
}

/// The state of a walk through a text.
struct Search<'a> {
    lexicon: &'a Lexicon,
    text: &'a str,
    surroundings: Surroundings<'a>,
    /// Byte at which the last phrase of each kind ends.
    free_from: [usize; Kind::ALL.len()],
    /// The sentence walked through, among those that are kept, and how many are not.
    sentence: usize,
    sentences_before: usize,
    /// Whether everything that has been read of the text is ASCII.
    ascii: bool,
}

impl<'a> Search<'a> {
    fn new(lexicon: &'a Lexicon, text: &'a str) -> Self {
        Self {
            lexicon,
            text,
            surroundings: Surroundings::new(text),
            free_from: [0; Kind::ALL.len()],
            sentence: 0,
            sentences_before: 0,
            ascii: true,
        }
    }

    /// Looks for phrases that begin at a word.
    #[inline]
    fn at(&mut self, first: usize, scratch: &mut Scratch, take: &mut impl FnMut(&Hit, Verdict)) {
        self.walk(first, scratch);
        if !scratch.found.is_empty() {
            self.select(first, scratch, take);
        }
    }

    /// All phrases that begin at a word.
    #[inline]
    fn walk(&self, first: usize, scratch: &mut Scratch) {
        let Scratch {
            words,
            candidates,
            paths,
            found,
            ..
        } = scratch;
        let trie = self.lexicon.trie();
        found.clear();
        paths.clear();
        let Some(mut word) = words.get(first) else {
            return;
        };
        let Some(mut node) = trie.step(ROOT, self.text, word, candidates.hash(first)) else {
            return;
        };
        let mut last = first;
        loop {
            found.extend(trie.ends(node).iter().map(|&end| Match { end, last }));
            let (any, hash) = (trie.step_any(node), candidates.hash(last + 1));
            let may_step = trie.may_step(node, hash);
            if (may_step || any.is_some())
                && let Some(next) = words.get(last + 1)
                && joined(self.text, word, next)
            {
                if let Some(any) = any {
                    paths.push((any, last + 1));
                }
                if may_step && let Some(onward) = trie.step(node, self.text, next, hash) {
                    (node, last, word) = (onward, last + 1, next);
                    continue;
                }
            }
            let Some((other, at)) = paths.pop() else {
                return;
            };
            let Some(there) = words.get(at) else { return };
            (node, last, word) = (other, at, there);
        }
    }

    /// Selects for each kind the longest phrase that its guards let pass.
    #[inline]
    fn select(
        &mut self,
        first: usize,
        scratch: &mut Scratch,
        take: &mut impl FnMut(&Hit, Verdict),
    ) {
        let Scratch { words, found, .. } = scratch;
        let Some(begin) = words.get(first) else {
            return;
        };
        let sentences = words.sentences();
        while (sentences.get(self.sentence + 1)).is_some_and(|&next| next as usize <= begin.start) {
            self.sentence += 1;
        }
        if found.len() > 1 {
            let rank = |one: &Match| (one.end.kind, std::cmp::Reverse(one.last), one.end.entry);
            found.sort_unstable_by_key(rank);
            found.dedup_by_key(|one| rank(one)); // two ways through a gap
        }
        let mut taken = None;
        for &Match { end, last } in found.iter() {
            let Some(word) = words.get(last) else {
                continue;
            };
            let hit = Hit {
                kind: end.kind,
                entry: end.entry,
                start: begin.start,
                end: word.end,
                sentence: within_text(self.sentences_before + self.sentence),
                ascii: self.ascii,
            };
            let silenced = |search: &mut Self| {
                let mut place = Place {
                    words,
                    first,
                    last,
                    sentence_start: sentences[search.sentence] as usize,
                    surroundings: &mut search.surroundings,
                };
                let guards = &search.lexicon.entries()[end.entry as usize].guards;
                guards.silences(&mut place)
            };
            let verdict = if taken == Some(end.kind) {
                Verdict::Longer
            } else if begin.start < self.free_from[end.kind as usize] {
                Verdict::Covered
            } else if end.guarded
                && let Some(guard) = silenced(self)
            {
                Verdict::Silenced(guard)
            } else {
                Verdict::Counts
            };
            if verdict == Verdict::Counts {
                taken = Some(end.kind);
                self.free_from[end.kind as usize] = hit.end;
            }
            take(&hit, verdict);
        }
    }
}

/// The number of characters of a text.
fn characters(text: &str) -> usize {
    text.as_bytes()
        .iter()
        .filter(|&&byte| byte.cast_signed() >= -0x40)
        .count()
}

/// Says how many characters stand before a byte. Bytes are asked for in the order of the text.
#[derive(Default)]
struct CharactersBefore {
    byte: usize,
    characters: usize,
}

impl CharactersBefore {
    /// Where a phrase starts and ends.
    fn characters_of(&mut self, text: &str, hit: &Hit) -> (usize, usize) {
        let (start, length) = if hit.ascii {
            (hit.start, hit.end - hit.start)
        } else {
            let before = self.characters + characters(&text[self.byte..hit.start]);
            (before, characters(&text[hit.start..hit.end]))
        };
        (self.byte, self.characters) = (hit.start, start);
        (start, start + length)
    }
}
