//! Cuts an answer into words that compare equal where people read the same: without case, accents, plural endings and
//! the forms of numbers.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// What stands between a word and the one before it, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// White space, a hyphen, a quotation mark.
    Space,
    /// A comma or a bracket.
    Comma,
    /// A semicolon, a colon, a dash, a new line.
    Clause,
    /// The end of a sentence, or a blank line.
    Sentence,
}

/// A word of an answer. `start` and `end` are bytes of the text; `folded` is what it is compared by.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    pub start: usize,
    pub end: usize,
    folded: (usize, usize),
    pub gap: Gap,
    pub capital: bool,
    pub sentence: usize,
}

/// The words of one text, in order.
#[derive(Debug, Clone, Default)]
pub struct Words {
    folded: String,
    list: Vec<Word>,
    /// Whether each sentence ends in a question mark.
    asks: Vec<bool>,
}

/// An answer is read up to here; its first words say what it asserts.
const MOST_WORDS: usize = 20_000;

/// Abbreviations after which a full stop ends no sentence.
const ABBREVIATED: [&str; 14] = [
    "dr", "mr", "mrs", "ms", "st", "saint", "vs", "jr", "sr", "prof", "gen", "mt", "no", "approx",
];

impl Words {
    pub fn list(&self) -> &[Word] {
        &self.list
    }

    pub fn folded(&self, word: usize) -> &str {
        let (start, end) = self.list[word].folded;
        &self.folded[start..end]
    }

    /// Whether the sentence of a word ends in a question mark.
    pub fn asks(&self, word: usize) -> bool {
        self.asks[self.list[word].sentence]
    }

    pub fn read(&mut self, text: &str) {
        self.folded.clear();
        self.list.clear();
        self.asks.clear();
        self.asks.push(false);
        let mut at = 0;
        let mut gap = Gap::Sentence;
        while let Some(c) = text[at..].chars().next()
            && self.list.len() < MOST_WORDS
        {
            let begins = c.is_alphanumeric() && !is_apostrophe(c);
            if begins || is_minus(c) && begins_number(text, at, c) {
                at = self.word(text, at, gap);
                gap = Gap::Space;
            } else {
                let (found, next) = self.separator(text, at, c);
                gap = gap.max(found);
                at = next;
            }
        }
    }

    /// Reads the word that begins at a byte; the byte behind it.
    fn word(&mut self, text: &str, start: usize, gap: Gap) -> usize {
        if gap == Gap::Sentence && !self.list.is_empty() {
            self.asks.push(false);
        }
        let begin = self.folded.len();
        let first = text[start..].chars().next().unwrap_or_default();
        let sign = if is_minus(first) { first.len_utf8() } else { 0 };
        let is_number = sign > 0 || first.is_ascii_digit();
        let end = if is_number {
            if sign > 0 {
                self.folded.push('-');
            }
            self.digits(text, start + sign)
        } else {
            self.letters(text, start)
        };
        self.list.push(Word {
            start,
            end,
            folded: (begin, self.folded.len()),
            gap: if self.list.is_empty() {
                Gap::Sentence
            } else {
                gap
            },
            capital: first.is_uppercase(),
            sentence: self.asks.len() - 1,
        });
        if !is_number {
            self.stem(begin);
        }
        end
    }

    /// A number: separators of thousands are dropped, and the ending of an ordinal.
    fn digits(&mut self, text: &str, start: usize) -> usize {
        let bytes = text.as_bytes();
        let begin = self.folded.len();
        let run = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let mut at = start + run(start);
        self.folded.push_str(&text[start..at]);
        while let Some(next) = [",", "\u{a0}", "\u{202f}", "\u{2009}"]
            .into_iter()
            .find_map(|mark| {
                let next = at + mark.len();
                (at - start <= 15 && text[at..].starts_with(mark) && run(next) == 3).then_some(next)
            })
        {
            self.folded.push_str(&text[next..next + 3]);
            at = next + 3;
        }
        let zeros = self.folded[begin..]
            .bytes()
            .take_while(|&b| b == b'0')
            .count();
        let zeros = zeros.min(self.folded.len() - begin - 1);
        self.folded.replace_range(begin..begin + zeros, "");
        if bytes.get(at) == Some(&b'.') && run(at + 1) > 0 {
            let after = at + 1 + run(at + 1);
            let decimals = text[at + 1..after].trim_end_matches('0');
            if !decimals.is_empty() {
                self.folded.push('.');
                self.folded.push_str(decimals);
            }
            return after;
        }
        let ordinal = ["st", "nd", "rd", "th"].into_iter().any(|ending| {
            text.get(at..at + 2)
                .is_some_and(|t| t.eq_ignore_ascii_case(ending))
                && !text[at + 2..].starts_with(char::is_alphanumeric)
        });
        if ordinal { at + 2 } else { at }
    }

    /// Letters, with the apostrophes and digits among them; initials with full stops (`U.S.`, `J. R. R.`) are one word.
    fn letters(&mut self, text: &str, start: usize) -> usize {
        let begin = self.folded.len();
        let plain = text.as_bytes()[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        self.folded.push_str(&text[start..start + plain]);
        self.folded[begin..].make_ascii_lowercase();
        let (mut letters, mut end) = (plain, start + plain);
        for (i, c) in text[end..].char_indices() {
            let at = start + plain + i;
            if is_combining_mark(c) && !c.is_ascii() {
                // An accent belongs to the letter before it; a vowel sign of another script is a letter.
                if !is_accent(c) {
                    self.folded.push(c);
                }
                end = at + c.len_utf8();
            } else if c.is_alphanumeric() && !is_apostrophe(c) {
                self.fold(c);
                letters += 1;
                end = at + c.len_utf8();
            } else if is_apostrophe(c) {
                let rest = &text[at + c.len_utf8()..];
                let ending = rest.chars().take_while(|c| c.is_alphabetic()).count();
                if ending == 0 {
                    break;
                }
                if ending == 1 && rest.starts_with(['s', 'S']) {
                    return at + c.len_utf8() + 1;
                }
            } else {
                break;
            }
        }
        if letters == 1 {
            while let Some(next) = next_initial(text, end) {
                let c = text[next..].chars().next().unwrap_or_default();
                self.fold(c);
                letters += 1;
                end = next + c.len_utf8();
            }
            if letters > 1 && text[end..].starts_with('.') {
                end += 1;
            }
        }
        if letters <= 2 {
            end = self.mark(text, end);
        }
        end
    }

    /// The sign behind a short name, which tells it apart: `O-`, `C++`.
    fn mark(&mut self, text: &str, end: usize) -> usize {
        let rest = &text[end..];
        let signs = rest.len() - rest.trim_start_matches(['+', '#', '-', '−']).len();
        let goes_on = rest[signs..].starts_with(char::is_alphanumeric);
        if signs == 0 || signs > 3 || goes_on {
            return end;
        }
        let sign = rest[..signs].replace('−', "-");
        self.folded.push_str(&sign);
        end + signs
    }

    fn fold(&mut self, c: char) {
        if c.is_ascii() {
            self.folded.push(c.to_ascii_lowercase());
            return;
        }
        let plain = match c {
            'ß' => "ss",
            'ø' | 'Ø' => "o",
            'æ' | 'Æ' => "ae",
            'œ' | 'Œ' => "oe",
            'ł' | 'Ł' => "l",
            'đ' | 'Đ' | 'ð' | 'Ð' => "d",
            'þ' | 'Þ' => "th",
            'ı' => "i",
            _ => "",
        };
        if !plain.is_empty() {
            self.folded.push_str(plain);
            return;
        }
        let folded = &mut self.folded;
        decompose_compatible(c, |part| {
            if !is_accent(part) {
                folded.extend(part.to_lowercase());
            }
        });
    }

    /// Takes the ending of a plural off what was folded last.
    fn stem(&mut self, begin: usize) {
        let word = &self.folded[begin..];
        let ends = |ending: &str| word.ends_with(ending);
        let (cut, add) = if word.len() > 4 && ends("ies") {
            (3, "y")
        } else if word.len() > 4 && (ends("ses") || ends("xes") || ends("ches") || ends("shes")) {
            (2, "")
        } else if word.len() > 3 && ends("s") && !(ends("ss") || ends("us") || ends("is")) {
            (1, "")
        } else {
            (0, "")
        };
        let length = self.folded.len() - cut;
        self.folded.truncate(length);
        self.folded.push_str(add);
        if let Some(word) = self.list.last_mut() {
            word.folded.1 = self.folded.len();
        }
    }

    /// What a character between words separates, and the byte behind it.
    fn separator(&mut self, text: &str, at: usize, c: char) -> (Gap, usize) {
        let mut next = at + c.len_utf8();
        let rest = &text[next..];
        let spaced = rest.chars().next().is_none_or(char::is_whitespace);
        let gap = match c {
            _ if ends_sentence(c) => {
                // All of a run at once, so that a long one is read once.
                let behind = text[at..].trim_start_matches(ends_sentence);
                let run = &text[at..text.len() - behind.len()];
                next = at + run.len();
                let closed = behind.trim_start_matches(['"', '”', '’', '\'', ')', ']', '*', '_']);
                let ends = closed.chars().next().is_none_or(char::is_whitespace) || !c.is_ascii();
                if run.contains(['?', '？'])
                    && !self.list.is_empty()
                    && let Some(asks) = self.asks.last_mut()
                {
                    *asks |= ends;
                }
                if ends && !(run == "." && self.is_abbreviated()) {
                    Gap::Sentence
                } else {
                    Gap::Space
                }
            }
            ';' | ':' | '—' => Gap::Clause,
            '–' | '-' if spaced && text[..at].ends_with(char::is_whitespace) => Gap::Clause,
            '\n' => {
                let blank = rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n');
                if blank { Gap::Sentence } else { Gap::Clause }
            }
            ',' | '(' | ')' | '[' | ']' => Gap::Comma,
            _ => Gap::Space,
        };
        (gap, next)
    }

    /// Whether a full stop after the last word marks an abbreviation.
    fn is_abbreviated(&self) -> bool {
        let Some(last) = self.list.len().checked_sub(1) else {
            return false;
        };
        let word = self.folded(last);
        let is_initial = word.len() == 1 && self.list[last].capital;
        is_initial || ABBREVIATED.contains(&word)
    }

    /// Lets the first of several words stand for them all, with another spelling.
    pub fn rewrite(&mut self, words: std::ops::Range<usize>, folded: &str) {
        let begin = self.folded.len();
        self.folded.push_str(folded);
        let end = self.list[words.end - 1].end;
        let first = &mut self.list[words.start];
        (first.end, first.folded) = (end, (begin, begin + folded.len()));
    }

    /// Moves a word to a place before it.
    pub fn keep(&mut self, word: usize, place: usize) {
        self.list[place] = self.list[word];
    }

    pub fn truncate(&mut self, words: usize) {
        self.list.truncate(words);
    }
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '？' | '！')
}

/// A mark over or under a letter of Latin, Greek or Cyrillic.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '−')
}

/// Whether a minus begins a number: white space or a bracket before it, a digit behind it.
fn begins_number(text: &str, at: usize, minus: char) -> bool {
    let stands_apart = text[..at]
        .chars()
        .next_back()
        .is_none_or(|c| c.is_whitespace() || c == '(');
    stands_apart && text[at + minus.len_utf8()..].starts_with(|c: char| c.is_ascii_digit())
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`')
}

/// The byte of the next of several initials, after the full stop of one that ends at a byte.
fn next_initial(text: &str, end: usize) -> Option<usize> {
    let rest = text[end..].strip_prefix('.')?;
    let apart = rest.trim_start_matches([' ', '\u{a0}']);
    let spaces = rest[..rest.len() - apart.len()].chars().count();
    let next = text.len() - apart.len();
    let mut after = text[next..].chars();
    let c = after.next()?;
    (spaces <= 1 && c.is_alphabetic() && c.is_uppercase() && after.next() == Some('.'))
        .then_some(next)
}
