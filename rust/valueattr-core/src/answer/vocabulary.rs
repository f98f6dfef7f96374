//! Words that are known to a reader, as numbers, and a text as numbers of words.

use rustc_hash::FxHashMap;

use super::cues::{self, AND, ARTICLE, CUES, Cue, Number, STOP};
use super::words::{Gap, Words};

/// A word that no name and no cue holds.
pub const UNKNOWN: u32 = u32::MAX;

/// Known words: those of names, and cues.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    ids: FxHashMap<Box<str>, u32>,
    cues: Vec<Cue>,
    numbers: Vec<Option<Number>>,
}

impl Vocabulary {
    /// The cues alone.
    pub fn new() -> Self {
        let mut known = Self {
            ids: FxHashMap::default(),
            cues: Vec::new(),
            numbers: Vec::new(),
        };
        let mut words = Words::default();
        for (cue, listed) in CUES {
            words.read(listed); // which folds them as it folds a text
            for i in 0..words.list().len() {
                let id = known.add(words.folded(i));
                known.cues[id as usize] |= cue;
            }
        }
        for (word, number) in cues::numbers() {
            let id = known.add(word);
            known.numbers[id as usize] = Some(number);
        }
        known
    }

    pub fn add(&mut self, word: &str) -> u32 {
        if let Some(&id) = self.ids.get(word) {
            return id;
        }
        let id = u32::try_from(self.cues.len()).unwrap_or(UNKNOWN);
        self.ids.insert(word.into(), id);
        self.cues.push(0);
        self.numbers.push(None);
        id
    }

    pub fn len(&self) -> usize {
        self.cues.len()
    }

    fn id(&self, word: &str) -> u32 {
        self.ids.get(word).copied().unwrap_or(UNKNOWN)
    }
}

/// A text as a reader sees it.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pub words: Words,
    /// The number of each word, or [`UNKNOWN`].
    pub ids: Vec<u32>,
    pub cues: Vec<Cue>,
    /// The places of words that carry meaning.
    pub content: Vec<usize>,
}

impl Text {
    pub fn read(&mut self, text: &str, known: &Vocabulary) {
        self.words.read(text);
        self.ids.clear();
        self.cues.clear();
        let mut any_number = false;
        for i in 0..self.words.list().len() {
            let id = known.id(self.words.folded(i));
            self.ids.push(id);
            self.cues
                .push(known.cues.get(id as usize).copied().unwrap_or(0));
            any_number |= self.number(i, known).is_some();
        }
        if any_number {
            self.numbers(known);
        }
        self.synonyms(known);
        let mut content = std::mem::take(&mut self.content);
        content.clear();
        content.extend((0..self.len()).filter(|&i| self.carries_meaning(i)));
        self.content = content;
    }

    /// Whether a word says something: not `the`, but the letter of `vitamin C`.
    fn carries_meaning(&self, word: usize) -> bool {
        self.cues[word] & STOP == 0
            || self.words.list()[word].capital && self.words.folded(word).len() == 1
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn has(&self, word: usize, cue: Cue) -> bool {
        self.cues[word] & cue != 0
    }

    pub fn gap(&self, word: usize) -> Gap {
        self.words.list()[word].gap
    }

    /// Whether no clause ends between two words.
    pub fn in_one_clause(&self, first: usize, last: usize) -> bool {
        (first + 1..=last).all(|i| self.gap(i) < Gap::Clause)
    }

    /// Whether a word that begins a name goes on a list whose last name ends at another: `X, Y and Z`.
    pub fn goes_on(&self, last: usize, next: usize) -> bool {
        let between = last + 1..next;
        between.len() <= 2
            && self.in_one_clause(last, next)
            && between.into_iter().all(|i| self.has(i, AND | ARTICLE))
    }

    /// The number that a word writes in digits.
    pub fn digits(&self, word: usize) -> Option<u32> {
        let folded = self.words.folded(word);
        folded
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| folded.parse().ok())
            .flatten()
    }

    fn number(&self, word: usize, known: &Vocabulary) -> Option<Number> {
        known
            .numbers
            .get(self.ids[word] as usize)
            .copied()
            .flatten()
    }

    /// Writes number words in digits.
    fn numbers(&mut self, known: &Vocabulary) {
        let (mut kept, mut first) = (0, 0);
        while first < self.len() {
            let mut end = first + 1;
            if let Some((value, behind)) = self.value(first, known) {
                end = behind;
                self.words.rewrite(first..end, &value.to_string());
                self.ids[first] = known.id(self.words.folded(first));
                self.cues[first] &= !STOP;
            }
            self.words.keep(first, kept);
            self.ids[kept] = self.ids[first];
            self.cues[kept] = self.cues[first];
            (kept, first) = (kept + 1, end);
        }
        self.words.truncate(kept);
        self.ids.truncate(kept);
        self.cues.truncate(kept);
    }

    /// The value of the number words from a word on, and the word behind them.
    fn value(&self, first: usize, known: &Vocabulary) -> Option<(u64, usize)> {
        let counts_before = first > 0
            && self
                .words
                .folded(first - 1)
                .starts_with(|c: char| c.is_ascii_digit());
        if counts_before && self.words.folded(first) == "second" {
            return None; // the unit
        }
        if let Some(value) = self.scaled(first, known) {
            return Some((value, first + 2));
        }
        let (mut total, mut current, mut last) = (0_u64, 0_u64, None);
        let mut end = first;
        if let Some(digits) = self.digits(first) {
            let scaled = first + 1 < self.len()
                && matches!(self.number(first + 1, known), Some(Number::Scale(_)));
            if !scaled {
                return None;
            }
            (current, end, last) = (u64::from(digits), first + 1, Some(Number::Unit(0)));
        }
        while end < self.len() && (end == first || self.gap(end) == Gap::Space) {
            let Some(number) = self.number(end, known) else {
                let joins =
                    self.words.folded(end) == "and" && matches!(last, Some(Number::Scale(_)));
                let goes_on = end + 1 < self.len()
                    && matches!(
                        self.number(end + 1, known),
                        Some(Number::Unit(_) | Number::Ten(_))
                    );
                if joins && goes_on {
                    end += 1;
                    continue;
                }
                break;
            };
            match (number, last) {
                // Years by halves: nineteen sixty-nine.
                (Number::Ten(v), Some(Number::Unit(_) | Number::Ten(_)))
                    if (11..=20).contains(&current) && total == 0 =>
                {
                    current = 100 * current + v;
                }
                (Number::Unit(_), Some(Number::Unit(_)))
                | (Number::Ten(_), Some(Number::Unit(_) | Number::Ten(_))) => {
                    break;
                }
                (Number::Unit(v) | Number::Ten(v), _) => current = current.saturating_add(v),
                (Number::Scale(100), _) => current = current.max(1).saturating_mul(100),
                (Number::Scale(by), _) => {
                    total = total.saturating_add(current.max(1).saturating_mul(by));
                    current = 0;
                }
            }
            last = Some(number);
            end += 1;
        }
        (end > first).then_some((total.saturating_add(current), end))
    }

    /// `1.3 million`.
    fn scaled(&self, first: usize, known: &Vocabulary) -> Option<u64> {
        let Some(Number::Scale(by)) = (first + 1 < self.len())
            .then(|| self.number(first + 1, known))
            .flatten()
        else {
            return None;
        };
        let (whole, decimals) = self.words.folded(first).split_once('.')?;
        let by = by / 10_u64.checked_pow(u32::try_from(decimals.len()).ok()?)?;
        let number: u64 = format!("{whole}{decimals}").parse().ok()?;
        (by > 0).then(|| number.checked_mul(by)).flatten()
    }

    /// `St` is `Saint`, and `m` behind a number `metre`.
    fn synonyms(&mut self, known: &Vocabulary) {
        for i in 0..self.len() {
            let folded = self.words.folded(i);
            let other = if folded == "st" {
                "saint"
            } else if i > 0
                && self
                    .words
                    .folded(i - 1)
                    .starts_with(|c: char| c.is_ascii_digit())
                && let Some(unit) = cues::unit(folded)
            {
                unit
            } else {
                continue;
            };
            self.words.rewrite(i..i + 1, other);
            self.ids[i] = known.id(other);
            self.cues[i] = known.cues.get(self.ids[i] as usize).copied().unwrap_or(0);
        }
    }
}
