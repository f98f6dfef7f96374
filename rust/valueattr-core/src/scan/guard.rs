//! Guards: why a phrase that is there does not count.

use super::characters::{closes, ends_sentence, is_joiner, is_space, is_word};
use super::folding::{folded, is_same};
use super::words::{Word, Words, words};

/// Words before a phrase in which a negation turns it round ("I do not think").
pub const NEGATION_REACH: usize = 2;

const NEGATIONS: [&str; 4] = ["not", "never", "no", "cannot"];

/// What an entry is guarded against.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    negation: bool,
    quotation: bool,
    question: bool,
    unless_before: Listed,
    unless_after: Listed,
}

/// Why a phrase does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Negation,
    Quotation,
    Question,
    Before,
    After,
}

impl Guard {
    /// The name in lexicons.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Negation => "negation",
            Self::Quotation => "quotation",
            Self::Question => "question",
            Self::Before => "unless_before",
            Self::After => "unless_after",
        }
    }
}

/// Words that stand beside a phrase in another sense than the hedge's.
#[derive(Debug, Clone, Default)]
struct Listed {
    any_number: bool,
    words: Vec<String>,
}

impl Listed {
    fn add(&mut self, word: &str) -> Result<(), String> {
        if word == "#" {
            self.any_number = true;
            return Ok(());
        }
        match words(word).as_slice() {
            [one] => self.words.push(folded(&word[one.start..one.end])),
            _ => {
                return Err(format!(
                    "{word:?} is not one word; list words one by one, # for any number"
                ));
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && !self.any_number
    }

    fn holds(&self, word: &str) -> bool {
        self.any_number && word.starts_with(|c: char| c.is_ascii_digit())
            || self.words.iter().any(|listed| is_same(word, listed))
    }
}

/// A phrase in its text.
pub struct Place<'a, 'text> {
    pub words: &'a Words,
    pub first: usize,
    pub last: usize,
    /// Byte at which its sentence begins.
    pub sentence_start: usize,
    pub surroundings: &'a mut Surroundings<'text>,
}

impl Guards {
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        match name {
            "negation" => self.negation = true,
            "quotation" => self.quotation = true,
            "question" => self.question = true,
            _ => {
                return Err(format!(
                    "unknown guard {name:?}; known: negation, quotation, question"
                ));
            }
        }
        Ok(())
    }

    pub fn unless_before(&mut self, word: &str) -> Result<(), String> {
        self.unless_before.add(word)
    }

    pub fn unless_after(&mut self, word: &str) -> Result<(), String> {
        self.unless_after.add(word)
    }

    pub fn is_empty(&self) -> bool {
        !(self.negation || self.quotation || self.question)
            && self.unless_before.is_empty()
            && self.unless_after.is_empty()
    }

    /// The first guard that keeps the phrase from counting.
    #[inline]
    pub fn silences(&self, place: &mut Place) -> Option<Guard> {
        let text = place.surroundings.text;
        let word = |i: usize| place.words.get(i);
        let (first, last) = (word(place.first)?, word(place.last)?);
        if !self.unless_before.is_empty()
            && let Some(before) = place.first.checked_sub(1).and_then(word)
            && joined(text, before, first)
            && self.unless_before.holds(&text[before.start..before.end])
        {
            return Some(Guard::Before);
        }
        if !self.unless_after.is_empty()
            && let Some(after) = word(place.last + 1)
            && joined(text, last, after)
            && self.unless_after.holds(&text[after.start..after.end])
        {
            return Some(Guard::After);
        }
        if self.negation && is_negated(text, place) {
            return Some(Guard::Negation);
        }
        if self.quotation && place.surroundings.is_quoted(first.start) {
            return Some(Guard::Quotation);
        }
        if self.question && place.surroundings.asks(place.sentence_start, last.end) {
            return Some(Guard::Question);
        }
        None
    }
}

fn is_negated(text: &str, place: &Place) -> bool {
    (place.first.saturating_sub(NEGATION_REACH)..place.first)
        .filter_map(|i| place.words.get(i))
        .filter(|word| word.start >= place.sentence_start)
        .any(|word| {
            let word = &text[word.start..word.end];
            NEGATIONS.iter().any(|no| is_same(word, no)) || is_contracted_not(word)
        })
}

/// Whether it ends in *n't*.
fn is_contracted_not(word: &str) -> bool {
    let ends_in_t = word.ends_with(['t', 'T']);
    ends_in_t && folded(word).ends_with("n't")
}

/// Whether a phrase may run from one word to the next: between them stand only white space, commas and dashes, and no
/// blank line.
#[inline]
pub fn joined(text: &str, word: Word, next: Word) -> bool {
    next.start - word.end == 1 && text.as_bytes()[word.end] == b' '
        || joins(&text[word.end..next.start])
}

#[inline(never)]
fn joins(between: &str) -> bool {
    let mut newlines = 0;
    for c in between.chars() {
        if c == '\n' {
            newlines += 1;
        } else if !is_space(c) {
            newlines = 0;
        }
        if !is_joiner(c) || newlines == 2 {
            return false;
        }
    }
    true
}

/// What guards know of a text beyond the words around a phrase; asked from its beginning to its end, so that the whole
/// text is read once at most.
pub struct Surroundings<'text> {
    text: &'text str,
    /// The last quotation found: bytes of its opening and closing marks.
    quotation: (usize, usize),
    /// The beginning of a sentence, and whether it is a question.
    sentence: Option<(usize, bool)>,
}

impl<'text> Surroundings<'text> {
    pub fn new(text: &'text str) -> Self {
        Self {
            text,
            quotation: (0, 0),
            sentence: None,
        }
    }

    /// Whether the byte stands between double quotation marks that open and close in one paragraph.
    #[inline]
    fn is_quoted(&mut self, at: usize) -> bool {
        while self.quotation.1 < at {
            self.quotation = next_quotation(self.text, self.quotation.1);
        }
        self.quotation.0 < at
    }

    /// Whether the sentence that begins at `start`, and in which a phrase ends at `from`, is a question.
    fn asks(&mut self, start: usize, from: usize) -> bool {
        match self.sentence {
            Some((known, asks)) if known == start => asks,
            _ => {
                let asks = ends_with_question_mark(&self.text[from..]);
                self.sentence = Some((start, asks));
                asks
            }
        }
    }
}

/// The opening and the closing mark of the first quotation that opens after the mark at `from` (or at 0, which may
/// itself open one); the end of the text twice if there is none.
///
/// A quotation opens at `“`, or at `"` unless it follows a word directly (as in 6" or 40°30'15"), and runs to the next
/// `"` or `”` of its paragraph; one that is never closed quotes nothing, so that a stray mark hides no phrase.
fn next_quotation(text: &str, from: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let mut open = None;
    let begin = from + usize::from(from > 0);
    for at in memchr::memchr3_iter(b'"', 0xE2, b'\n', &bytes[begin..]).map(|i| begin + i) {
        let is_curly = |last: u8| bytes[at..].starts_with(&[0xE2, 0x80, last]);
        match (bytes[at], open) {
            (b'\n', Some(_)) if is_blank_line(&text[at + 1..]) => open = None,
            (b'"', Some(open)) => return (open, at),
            (0xE2, Some(open)) if is_curly(0x9D) => return (open, at),
            (b'"', None) if !text[..at].ends_with(is_word) => open = Some(at),
            (0xE2, None) if is_curly(0x9C) => open = Some(at),
            _ => {}
        }
    }
    (text.len(), text.len())
}

/// Whether nothing but white space stands before the next newline.
fn is_blank_line(rest: &str) -> bool {
    rest.chars().take_while(|&c| is_space(c)).any(|c| c == '\n')
}

/// Whether the sentence that goes on here ends with a question mark.
fn ends_with_question_mark(rest: &str) -> bool {
    let (mut terminated, mut asked, mut newlines) = (false, false, 0);
    for c in rest.chars() {
        if ends_sentence(c) {
            terminated = true;
            asked |= c == '?';
        } else if terminated && is_space(c) {
            return asked;
        } else if !closes(c) {
            (terminated, asked) = (false, false);
        }
        if c == '\n' {
            newlines += 1;
        } else if !is_space(c) {
            newlines = 0;
        }
        if newlines == 2 {
            return false;
        }
    }
    terminated && asked
}
