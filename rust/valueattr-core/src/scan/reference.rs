//! The scanner again, slow and plainly right: a character at a time, every wording at every word.

use super::characters::{closes, ends_sentence, fold, is_apostrophe, is_joiner, is_space, is_word};
use super::kind::Kind;
use super::lexicon::Lexicon;
use super::matcher::Span;
use super::pattern::{Element, expand};

/// One word of a text; `start` and `end` are bytes, `first_char` and `last_char` characters, ends exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub start: usize,
    pub end: usize,
    pub first_char: u32,
    pub last_char: u32,
    /// Index of the sentence that it is in.
    pub sentence: u32,
    /// Whether a phrase may go on from the word before.
    pub joined: bool,
    /// Whether it stands between an opening and a closing double quotation mark of its paragraph.
    pub quoted: bool,
}

/// The words of a text, in order.
pub fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::with_capacity(text.len() / 5);
    let mut state = Between::default();
    let mut chars = text.char_indices().peekable();
    let mut at: u32 = 0;
    while let Some((start, c)) = chars.next() {
        let first_char = at;
        at += 1;
        if !is_word(c) {
            if let Some(opened) = state.quotation(c, words.len()) {
                words[opened..]
                    .iter_mut()
                    .for_each(|word| word.quoted = true);
            }
            state.pass(c);
            continue;
        }
        let mut end = start + c.len_utf8();
        loop {
            match chars.peek().copied() {
                Some((_, next)) if is_word(next) => {
                    chars.next();
                    at += 1;
                    end += next.len_utf8();
                }
                Some((i, next))
                    if is_apostrophe(next) && text[i + next.len_utf8()..].starts_with(is_word) =>
                {
                    chars.next();
                    at += 1;
                    end += next.len_utf8();
                }
                _ => break,
            }
        }
        let joined = state.start_word();
        words.push(Word {
            start,
            end,
            first_char,
            last_char: at,
            sentence: state.sentence,
            joined,
            quoted: false,
        });
    }
    words
}

fn ends_quotation(c: char) -> bool {
    matches!(c, '"' | '\u{201d}')
}

/// What has been passed since the last word.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // flags of one pass over the text, each with its own life
struct Between {
    sentence: u32,
    /// Number of words before the quotation that is open.
    quotation: Option<usize>,
    after_mark: bool,
    seen_word: bool,
    broken: bool,
    terminated: bool,
    ended: bool,
    newlines: u32,
}

impl Between {
    /// If `c` closes a quotation, the number of words before it; `words` is the number so far.
    fn quotation(&mut self, c: char, words: usize) -> Option<usize> {
        if self.quotation.is_some() && ends_quotation(c) {
            return self.quotation.take();
        }
        let after_word = self.seen_word && !self.after_mark;
        if c == '\u{201c}' || c == '"' && !after_word {
            self.quotation.get_or_insert(words);
        }
        None
    }

    fn pass(&mut self, c: char) {
        self.after_mark = true;
        if c == '\n' {
            self.newlines += 1;
            if self.newlines == 2 {
                self.ended = true;
                self.quotation = None;
            }
        } else if !is_space(c) {
            self.newlines = 0;
        }
        if ends_sentence(c) {
            self.terminated = true;
        } else if self.terminated && is_space(c) {
            self.ended = true;
        } else if !closes(c) {
            self.terminated = false;
        }
        self.broken |= !is_joiner(c);
    }

    /// Takes note of a word; whether it is joined to the one before.
    fn start_word(&mut self) -> bool {
        if self.ended && self.seen_word {
            self.sentence += 1;
        }
        let joined = self.seen_word && !self.broken && !self.ended;
        *self = Self {
            sentence: self.sentence,
            quotation: self.quotation,
            seen_word: true,
            ..Self::default()
        };
        joined
    }
}

fn folded(text: &str, word: &Word) -> String {
    text[word.start..word.end].chars().map(fold).collect()
}

/// The guards of an entry, as the file gives them.
#[derive(Default)]
pub struct Guarded {
    pub negation: bool,
    pub quotation: bool,
    pub question: bool,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

fn listed(list: &[String], word: &str) -> bool {
    list.iter()
        .any(|w| w == word || w == "#" && word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether the sentence that a word is in ends with a question mark.
fn asks(text: &str, words: &[Word], at: usize) -> bool {
    let mut end = at;
    while words
        .get(end + 1)
        .is_some_and(|next| next.sentence == words[at].sentence)
    {
        end += 1;
    }
    let until = words.get(end + 1).map_or(text.len(), |next| next.start);
    let after: Vec<char> = text[words[end].end..until].chars().collect();
    let mut newlines = 0;
    for (i, &c) in after.iter().enumerate() {
        newlines = match c {
            '\n' => newlines + 1,
            c if is_space(c) => newlines,
            _ => 0,
        };
        if newlines == 2 {
            return false;
        }
        if ends_sentence(c) {
            let marks: Vec<char> = after[i..]
                .iter()
                .copied()
                .take_while(|&c| ends_sentence(c) || closes(c))
                .collect();
            let ended = match after.get(i + marks.len()) {
                Some(&next) => is_space(next),
                None => until == text.len(),
            };
            if ended {
                return marks.contains(&'?');
            }
        }
    }
    false
}

pub fn spans(lexicon: &Lexicon, guards: &[Guarded], text: &str) -> Vec<Span> {
    let words = words(text);
    let wordings: Vec<_> = (lexicon.entries().iter())
        .map(|entry| expand(&entry.pattern).expect("a valid pattern"))
        .collect();
    let mut spans = Vec::new();
    for kind in Kind::ALL {
        let mut first = 0;
        while first < words.len() {
            let mut best: Option<(usize, usize)> = None;
            for (number, entry) in lexicon.entries().iter().enumerate() {
                if entry.kind != kind {
                    continue;
                }
                for wording in &wordings[number] {
                    let last = first + wording.len() - 1;
                    let stands = last < words.len()
                        && words[first + 1..=last].iter().all(|word| word.joined)
                        && wording
                            .iter()
                            .enumerate()
                            .all(|(k, element)| match element {
                                Element::Any => true,
                                Element::Word(word) => *word == folded(text, &words[first + k]),
                            });
                    if !stands || best.is_some_and(|(end, _)| last <= end) {
                        continue;
                    }
                    let guard = &guards[number];
                    let negated = words[first.saturating_sub(2)..first].iter().any(|word| {
                        let folded = folded(text, word);
                        word.sentence == words[first].sentence
                            && (["not", "never", "no", "cannot"].contains(&folded.as_str())
                                || folded.ends_with("n't"))
                    });
                    let silenced = guard.negation && negated
                        || guard.quotation && words[first].quoted
                        || guard.question && asks(text, &words, first)
                        || words[first].joined
                            && listed(&guard.before, &folded(text, &words[first - 1]))
                        || words.get(last + 1).is_some_and(|next| {
                            next.joined && listed(&guard.after, &folded(text, next))
                        });
                    if !silenced {
                        best = Some((last, number));
                    }
                }
            }
            first += 1;
            if let Some((last, number)) = best {
                spans.push(Span {
                    kind,
                    entry: u32::try_from(number).expect("few"),
                    start: words[first - 1].first_char,
                    end: words[last].last_char,
                    sentence: words[first - 1].sentence,
                });
                first = last + 1;
            }
        }
    }
    spans.sort_by_key(|span| (span.start, span.kind));
    spans
}
