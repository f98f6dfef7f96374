//! Words, sentences and quotations of a text.
//!
//! A word is a maximal run of letters and digits, with single apostrophes inside it. Two words are joined, so that a
//! phrase may run through both, if only white space, commas and dashes stand between them. A sentence ends with `.`,
//! `!`, `?` or `…` before white space, closing marks or the end, and at a blank line.
//!
//! A quotation opens at `“`, or at `"` unless it follows a word directly (as in 6" or 40°30'15"), and runs to the next
//! `"` or `”` of its paragraph; one that is never closed quotes nothing, so that a stray mark hides no phrase.

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

/// Letters and digits: of ASCII, and everything beyond it but the marks, symbols and spaces listed here.
#[must_use]
pub fn is_word(c: char) -> bool {
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric(),
        'ª' | 'µ' | 'º' => true,
        '\u{80}'..='\u{bf}'
        | '×'
        | '÷'
        | '\u{2000}'..='\u{2bff}'
        | '\u{2e00}'..='\u{2e7f}'
        | '\u{3000}'..='\u{303f}'
        | '\u{fe10}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff0f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{ffff}'
        | '\u{1f000}'..='\u{1faff}' => false,
        _ => true,
    }
}

/// `'` and its typographic forms.
#[must_use]
pub fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{ff07}'
    )
}

fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}

/// What may stand between two words of a phrase.
#[must_use]
pub fn is_joiner(c: char) -> bool {
    is_space(c) || matches!(c, ',' | '-' | '\u{2010}'..='\u{2015}')
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…')
}

fn ends_quotation(c: char) -> bool {
    matches!(c, '"' | '\u{201d}')
}

fn closes(c: char) -> bool {
    matches!(c, '"' | '\u{201d}' | ')' | ']' | '*' | '_') || is_apostrophe(c)
}

/// Lower case where that is one character, the plain apostrophe for its forms.
#[must_use]
pub fn fold(c: char) -> char {
    if is_apostrophe(c) {
        return '\'';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The words of a text, in order.
#[must_use]
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

/// Folded words of a text, as matching sees them.
#[must_use]
pub fn folded_words(text: &str) -> Vec<String> {
    words(text)
        .iter()
        .map(|word| text[word.start..word.end].chars().map(fold).collect())
        .collect()
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
