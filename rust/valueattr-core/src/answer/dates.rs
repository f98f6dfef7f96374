//! Dates in any order of day, month and year.

use super::cues::{self, MONTH};
use super::vocabulary::Text;
use super::words::Gap;

/// What a text says of a date, and the words that say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub year: Option<u32>,
    pub month: Option<u8>,
    pub day: Option<u32>,
    pub first: usize,
    pub last: usize,
}

/// Years that stand alone; other numbers are no dates.
const YEARS: std::ops::RangeInclusive<u32> = 1000..=2100;

impl Date {
    /// In how many of year, month and day two dates agree; 0 if they contradict each other.
    pub fn agreement(&self, other: &Self) -> usize {
        let pairs = [
            (self.year, other.year),
            (self.month.map(u32::from), other.month.map(u32::from)),
            (self.day, other.day),
        ];
        let both = pairs.into_iter().filter_map(|(a, b)| Some((a?, b?)));
        let (mut agree, mut differ) = (0, false);
        for (a, b) in both {
            // Footnotes of web answers stick to the year before them: 20171.
            let is_same = a == b || b > 2100 && b / 10 == a;
            agree += usize::from(is_same);
            differ |= !is_same;
        }
        if differ { 0 } else { agree }
    }

    /// Whether two dates may be taken for the same one.
    pub fn is_same(&self, other: &Self) -> bool {
        let agree = self.agreement(other);
        let a_year_each = agree == 1 && self.year.is_some() && other.year.is_some();
        agree >= 2 || a_year_each && (self.month.is_none() || other.month.is_none())
    }
}

/// The dates that a text names.
pub fn dates(text: &Text) -> Vec<Date> {
    let mut found: Vec<Date> = Vec::new();
    let mut i = 0;
    while i < text.len() {
        if let Some(date) = by_month(text, i).or_else(|| by_numbers(text, i)) {
            i = date.last;
            found.push(date);
        }
        i += 1;
    }
    found
}

fn by_month(text: &Text, at: usize) -> Option<Date> {
    if !text.has(at, MONTH) {
        return None;
    }
    let month = cues::month(text.words.folded(at))?;
    let number = |i: usize| if i < text.len() { text.digits(i) } else { None };
    let is_day = |n: &u32| (1..=31).contains(n);
    let (mut first, mut last) = (at, at);
    let mut day = None;
    let before = at.checked_sub(1).map(|i| {
        if text.words.folded(i) == "of" {
            i.saturating_sub(1)
        } else {
            i
        }
    });
    if let Some(i) = before
        && let Some(n) = number(i).filter(is_day)
    {
        (day, first) = (Some(n), i);
    }
    if day.is_none()
        && let Some(n) = number(at + 1).filter(is_day)
    {
        (day, last) = (Some(n), at + 1);
    }
    let next = if last + 1 < text.len() && text.words.folded(last + 1) == "of" {
        last + 2
    } else {
        last + 1
    };
    let year = number(next).filter(|&n| n > 31);
    if year.is_some() {
        last = next;
    }
    // "May" alone is a verb far more often than a month.
    (day.is_some()
        || year.is_some()
        || text.words.list()[at].capital && text.words.folded(at) != "may")
        .then_some(Date {
            year,
            month: Some(month),
            day,
            first,
            last,
        })
}

/// Whether a footnote sticks to a year at the end of a sentence, as in answers from the web: `in 20171.`
fn has_footnote(text: &Text, at: usize, digits: u32) -> bool {
    let word = text.words.list()[at];
    let ends = at + 1 == text.len() || text.gap(at + 1) == Gap::Sentence;
    word.end - word.start == 5 && ends && YEARS.contains(&(digits / 10))
}

fn by_numbers(text: &Text, at: usize) -> Option<Date> {
    let year = text
        .digits(at)
        .filter(|&n| YEARS.contains(&n) || has_footnote(text, at, n))?;
    let number = |i: usize| if i < text.len() { text.digits(i) } else { None };
    let iso = number(at + 1)
        .zip(number(at + 2))
        .filter(|(m, d)| (1..=12).contains(m) && (1..=31).contains(d));
    let month = iso.and_then(|(m, _)| u8::try_from(m).ok());
    let last = if iso.is_some() { at + 2 } else { at };
    Some(Date {
        year: Some(year),
        month,
        day: iso.map(|(_, d)| d),
        first: at,
        last,
    })
}
