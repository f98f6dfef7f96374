//! The names of objects and where an answer mentions them.

use rustc_hash::FxHashMap;

use super::cues::{ANSWER, BE, MONTH, NEGATION, OPTION, STOP, root};
use super::dates::{Date, dates};
use super::roles::Role;
use super::spellings::spellings;
use super::vocabulary::{Text, UNKNOWN, Vocabulary};
use super::words::Gap;

/// Why a mention is taken for one of its object, from the surest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One of its names stands there as a whole.
    Name,
    /// The same date in another form, or less of it.
    Date,
    /// Its number, with its unit.
    Number,
    /// The last name of a person and another of their names.
    Person,
    /// The last name alone, which no other object has.
    LastName,
    /// All words of a name, in another order or form.
    Words,
    /// Most words of a name of at least three.
    MostWords,
    /// A short answer that is part of a name.
    Part,
}

/// Where an answer mentions an object; `first` and `last` are words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention {
    pub object: u32,
    pub first: usize,
    pub last: usize,
    pub rule: Rule,
}

#[derive(Debug, Clone)]
struct Alias {
    object: u32,
    /// The words that carry meaning; all of them if none does.
    words: Vec<u32>,
    /// Whether words without meaning count.
    is_whole: bool,
    /// The only spelling that counts, where the name is short: `US`, the element `He`.
    exact: Option<Box<str>>,
    /// As it is spelled.
    spelled: Box<str>,
    is_person: bool,
    /// The word by which a person goes.
    last_name: u32,
    dates: Vec<Date>,
    numbers: Vec<u32>,
    /// What a whole mention of it is by.
    rule: Rule,
}

/// What an answer is asked: the words of the question that carry meaning.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    words: Vec<Box<str>>,
    roots: Vec<Box<str>>,
    ids: Vec<u32>,
    /// On which side of what is done its answer stands.
    pub(super) role: Option<Role>,
}

impl Asked {
    pub(super) fn holds(&self, word: &str) -> bool {
        self.words.iter().any(|asked| **asked == *word)
    }

    /// The place of a word of the question of which this is a form.
    pub(super) fn place(&self, word: &str) -> Option<usize> {
        let root = root(word);
        self.roots.iter().position(|asked| **asked == *root)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// The names of objects.
#[derive(Debug, Clone)]
pub struct Names {
    known: Vocabulary,
    aliases: Vec<Alias>,
    /// Aliases by the first of their words.
    by_first: Vec<Vec<u32>>,
    /// Words of names by their first five bytes.
    by_stem: FxHashMap<[u8; 5], Vec<u32>>,
    spelled: Vec<Box<str>>,
    /// How many objects go by a last name, by the name.
    owners: FxHashMap<u32, u32>,
    /// Whether a name is made of words without meaning.
    any_is_whole: bool,
    /// Objects before this are answers, the others subjects of questions.
    answers: u32,
}

/// Memory for the looser rules.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Where a known word, or one like it, stands first in the text; by word.
    like: Vec<usize>,
    /// As `like`, for the word itself.
    same: Vec<usize>,
}

/// Mentions that are looked at; an answer that names more is read by the first ones.
const MOST_MENTIONS: usize = 128;

const NOWHERE: usize = usize::MAX;

impl Names {
    /// `objects` holds the names of each object, the canonical one first; those from `answers` on are subjects.
    pub fn new(objects: &[Vec<String>], answers: u32) -> Self {
        let mut names = Self {
            known: Vocabulary::new(),
            aliases: Vec::new(),
            by_first: Vec::new(),
            by_stem: FxHashMap::default(),
            spelled: Vec::new(),
            owners: FxHashMap::default(),
            any_is_whole: false,
            answers,
        };
        let mut text = Text::default();
        for (object, listed) in (0_u32..).zip(objects) {
            let other = listed
                .iter()
                .flat_map(|name| spellings(name))
                .map(String::from);
            let mut last_names = Vec::new();
            for name in listed.iter().cloned().chain(other) {
                for form in forms(&name) {
                    last_names.extend(names.add(object, &form, &mut text));
                }
            }
            last_names.sort_unstable();
            last_names.dedup();
            for name in last_names {
                *names.owners.entry(name).or_default() += 1;
            }
        }
        if names.answers > 1 {
            names.add_last_names();
        }
        names.any_is_whole = names.aliases.iter().any(|alias| alias.is_whole);
        names.by_first = vec![Vec::new(); names.known.len()];
        for (i, alias) in (0_u32..).zip(&names.aliases) {
            names.by_first[alias.words[0] as usize].push(i);
        }
        names
    }

    pub fn known(&self) -> &Vocabulary {
        &self.known
    }

    pub fn is_answer(&self, object: u32) -> bool {
        object < self.answers
    }

    /// The words of a question.
    pub fn asked(&self, question: &str) -> Asked {
        let mut text = Text::default();
        text.read(question, &self.known);
        let words = || text.content.iter().map(|&i| text.words.folded(i));
        Asked {
            words: words().map(Box::from).collect(),
            roots: words().map(|word| root(word).into()).collect(),
            ids: text
                .content
                .iter()
                .map(|&i| text.ids[i])
                .filter(|&id| id != UNKNOWN)
                .collect(),
            role: Role::asked(&text),
        }
    }

    /// Adds a name; the last name if it may be a person's.
    fn add(&mut self, object: u32, name: &str, text: &mut Text) -> Option<u32> {
        text.read(name, &self.known);
        let is_whole = text.content.is_empty();
        let places: Vec<usize> = if is_whole {
            (0..text.len()).collect()
        } else {
            text.content.clone()
        };
        let words: Vec<u32> = places
            .iter()
            .map(|&i| self.word(text.words.folded(i)))
            .collect();
        let (first, last) = (places.first()?, places.last()?);
        let listed = text.words.list();
        let spelled = &name[listed[*first].start..listed[*last].end];
        let folded = text.words.folded(*first);
        let is_short =
            words.len() == 1 && folded.len() <= 2 && folded.chars().all(char::is_alphabetic);
        let is_word_in_capitals = words.len() == 1
            && (is_whole || text.cues[*first] != 0)
            && spelled.chars().all(char::is_uppercase);
        let is_name_of_word = words.len() == 1 && listed[*first].capital && is_common(folded);
        let is_person = words.len() >= 2
            && (0..text.len()).all(|i| {
                listed[i].capital || text.has(i, STOP) || is_particle(text.words.folded(i))
            })
            && !(0..text.len()).any(|i| is_of_places(text.words.folded(i)));
        let suffixed = words.len() > 2 && is_suffix(text.words.folded(*last));
        let last_name = words[words.len() - 1 - usize::from(suffixed)];
        let date_in = dates(text);
        let meaning = places
            .iter()
            .filter(|&&i| text.digits(i).is_none() && !text.has(i, MONTH))
            .count();
        let is_number = |i: usize| {
            text.words
                .folded(i)
                .starts_with(|c: char| c.is_ascii_digit())
        };
        self.aliases.push(Alias {
            object,
            is_whole,
            exact: (is_short || is_word_in_capitals || is_name_of_word).then(|| spelled.into()),
            spelled: spelled.into(),
            is_person,
            last_name,
            numbers: places
                .iter()
                .zip(&words)
                .filter(|&(&i, _)| is_number(i))
                .map(|(_, &id)| id)
                .collect(),
            dates: if meaning <= 1 { date_in } else { Vec::new() },
            rule: Rule::Name,
            words,
        });
        is_person.then_some(last_name)
    }

    /// A last name that only one object has is a name of it.
    fn add_last_names(&mut self) {
        let is_name = |word: u32| self.aliases.iter().any(|alias| alias.words == [word]);
        let known = |alias: &&Alias| {
            alias.is_person
                && self.owners.get(&alias.last_name) == Some(&1)
                && !is_name(alias.last_name)
        };
        let mut alone: Vec<Alias> = (self.aliases.iter().filter(known))
            .map(|alias| Alias {
                words: vec![alias.last_name],
                is_person: false,
                rule: Rule::LastName,
                ..alias.clone()
            })
            .collect();
        self.aliases.append(&mut alone);
    }

    fn word(&mut self, folded: &str) -> u32 {
        let id = self.known.add(folded);
        if id as usize >= self.spelled.len() {
            self.spelled.resize(id as usize + 1, Box::default());
        }
        if self.spelled[id as usize].is_empty() {
            self.spelled[id as usize] = folded.into();
            if let Some(stem) = stem(folded) {
                self.by_stem.entry(stem).or_default().push(id);
            }
        }
        id
    }

    /// Where names stand as a whole; those within longer ones are left out.
    pub fn whole(&self, text: &Text, source: &str, out: &mut Vec<Mention>) {
        out.clear();
        for (k, &i) in text.content.iter().enumerate() {
            if out.len() >= MOST_MENTIONS {
                break;
            }
            self.whole_at(text, source, &text.content[k..], i, false, out);
        }
        if self.any_is_whole {
            let all: Vec<usize> = (0..text.len()).collect();
            let most = out.len() + MOST_MENTIONS;
            for i in 0..text.len() {
                if out.len() >= most {
                    break;
                }
                self.whole_at(text, source, &all[i..], i, true, out);
            }
        }
        out.sort_by_key(|one| (one.first, one.object));
        out.truncate(MOST_MENTIONS);
        let longer = out.clone();
        out.retain(|one| {
            !longer.iter().any(|other| {
                other.first <= one.first
                    && one.last <= other.last
                    && (other.last - other.first > one.last - one.first
                        || other.last - other.first == one.last - one.first
                            && !self.is_answer(one.object)
                            && self.is_answer(other.object))
            })
        });
        out.dedup();
        self.settle(text, source, out);
    }

    /// Of objects that share a name, those count that are spelled as the answer spells it, if there are such.
    fn settle(&self, text: &Text, source: &str, out: &mut Vec<Mention>) {
        let shared = |one: &Mention, other: &Mention| {
            (one.first, one.last) == (other.first, other.last) && one.object != other.object
        };
        if !out.windows(2).any(|pair| shared(&pair[0], &pair[1])) {
            return;
        }
        let listed = text.words.list();
        let is_as_spelled = |one: &Mention| {
            let found = &source[listed[one.first].start..listed[one.last].end];
            (self.aliases.iter())
                .any(|alias| alias.object == one.object && *alias.spelled == *found)
        };
        let all = out.clone();
        out.retain(|one| {
            is_as_spelled(one)
                || !(all.iter()).any(|other| shared(one, other) && is_as_spelled(other))
        });
    }

    fn whole_at(
        &self,
        text: &Text,
        source: &str,
        places: &[usize],
        at: usize,
        is_whole: bool,
        out: &mut Vec<Mention>,
    ) {
        let Some(aliases) = self.by_first.get(text.ids[at] as usize) else {
            return;
        };
        for &alias in aliases {
            let alias = &self.aliases[alias as usize];
            if alias.is_whole != is_whole || alias.words.len() > places.len() {
                continue;
            }
            let places = &places[..alias.words.len()];
            let matches = places
                .iter()
                .zip(&alias.words)
                .all(|(&i, &word)| text.ids[i] == word);
            let last = places[places.len() - 1];
            let listed = text.words.list();
            let found = &source[listed[at].start..listed[last].end];
            let is_spelled = match &alias.exact {
                Some(exact) => is_spelled(text, at, found, exact),
                None => alias.rule != Rule::LastName || listed[at].capital,
            };
            if matches && text.in_one_clause(at, last) && is_spelled {
                out.push(Mention {
                    object: alias.object,
                    first: at,
                    last,
                    rule: alias.rule,
                });
            }
        }
    }

    /// What the looser rules find of answers: the mentions by the surest of them.
    pub fn loose(&self, text: &Text, asked: &Asked, found: &mut Found, out: &mut Vec<Mention>) {
        out.clear();
        if text.content.is_empty() {
            return;
        }
        self.look(text, found);
        let text_dates = if self.aliases.iter().any(|alias| !alias.dates.is_empty()) {
            dates(text)
        } else {
            Vec::new()
        };
        for alias in self
            .aliases
            .iter()
            .filter(|alias| self.is_answer(alias.object) && alias.exact.is_none())
        {
            if let Some((rule, first, last)) =
                self.match_loosely(alias, text, &text_dates, asked, found)
            {
                out.push(Mention {
                    object: alias.object,
                    first,
                    last,
                    rule,
                });
            }
        }
        if let Some(surest) = out.iter().map(|one| one.rule).min() {
            out.retain(|one| one.rule == surest);
        }
        out.sort_by_key(|one| (one.first, one.object));
        out.dedup_by_key(|one| (one.first, one.object));
    }

    /// Notes where known words stand, or words like them.
    fn look(&self, text: &Text, found: &mut Found) {
        for places in [&mut found.like, &mut found.same] {
            places.clear();
            places.resize(self.known.len(), NOWHERE);
        }
        for &i in &text.content {
            if let Some(place) = found.same.get_mut(text.ids[i] as usize) {
                *place = (*place).min(i);
                found.like[text.ids[i] as usize] = *place;
            }
            let folded = text.words.folded(i);
            for &other in stem(folded)
                .and_then(|stem| self.by_stem.get(&stem))
                .into_iter()
                .flatten()
            {
                if is_like(folded, &self.spelled[other as usize]) {
                    let place = &mut found.like[other as usize];
                    *place = (*place).min(i);
                }
            }
        }
    }

    fn match_loosely(
        &self,
        alias: &Alias,
        text: &Text,
        text_dates: &[Date],
        asked: &Asked,
        found: &Found,
    ) -> Option<(Rule, usize, usize)> {
        let same = |word: u32| Some(found.same[word as usize]).filter(|&at| at != NOWHERE);
        let like = |word: u32| Some(found.like[word as usize]).filter(|&at| at != NOWHERE);
        let at = |rule: Rule, place: usize| Some((rule, place, place));
        if !alias.dates.is_empty() {
            // Of a period both ends count, where the answer may name both.
            let is_said = |a: &Date| text_dates.iter().any(|b| a.is_same(b));
            let of_alias = alias
                .dates
                .iter()
                .flat_map(|a| text_dates.iter().map(move |b| (a, b)));
            let best = of_alias
                .filter(|(a, b)| a.is_same(b))
                .max_by_key(|(a, b)| a.agreement(b))
                .filter(|_| {
                    text_dates.len() < alias.dates.len() || alias.dates.iter().all(is_said)
                })?;
            return Some((Rule::Date, best.1.first, best.1.last));
        }
        if !alias.numbers.is_empty() {
            let place = same(alias.numbers[0])?;
            let others = || {
                alias
                    .words
                    .iter()
                    .filter(|word| !alias.numbers.contains(word) && !asked.ids.contains(word))
            };
            let there = others().filter(|&&word| like(word).is_some()).count();
            let all_numbers = alias.numbers.iter().all(|&word| same(word).is_some());
            return if all_numbers && 2 * there >= others().count() {
                at(Rule::Number, place)
            } else {
                None
            };
        }
        if alias.is_person
            && let Some(place) = same(alias.last_name)
        {
            if alias
                .words
                .iter()
                .any(|&word| word != alias.last_name && same(word).is_some())
            {
                return at(Rule::Person, place);
            }
            if text.content.len() <= 2 && !asked.ids.contains(&alias.last_name) {
                return at(Rule::LastName, place);
            }
        }
        let mut rest: Vec<u32> = alias
            .words
            .iter()
            .copied()
            .filter(|word| !asked.ids.contains(word))
            .collect();
        if rest.is_empty() {
            rest.clone_from(&alias.words);
        }
        let there: Vec<usize> = rest.iter().filter_map(|&word| like(word)).collect();
        if let Some(&place) = there.iter().min() {
            if there.len() == rest.len() {
                return at(Rule::Words, place);
            }
            if rest.len() >= 3 && 5 * there.len() >= 3 * rest.len() {
                return at(Rule::MostWords, place);
            }
        }
        let said: Vec<usize> = text
            .content
            .iter()
            .copied()
            .filter(|&i| !asked.holds(text.words.folded(i)))
            .collect();
        let is_part = |&i: &usize| {
            let folded = text.words.folded(i);
            alias.words.iter().any(|&word| {
                word == text.ids[i]
                    || stem(folded).is_some() && is_like(folded, &self.spelled[word as usize])
            })
        };
        let is_part = !said.is_empty() && text.content.len() <= 4 && said.iter().all(is_part);
        if is_part {
            Some((Rule::Part, said[0], said[said.len() - 1]))
        } else {
            None
        }
    }
}

/// Whether a short name counts: in its own spelling, or in any where it is the answer: `no`, `Answer: b`.
fn is_spelled(text: &Text, at: usize, found: &str, exact: &str) -> bool {
    let ends = at + 1 == text.len() || text.gap(at + 1) > Gap::Space;
    if is_common(text.words.folded(at)) {
        let begins = text.gap(at) >= Gap::Clause;
        let is_subject = at + 1 < text.len() && text.has(at + 1, BE);
        let is_capital = text.words.list()[at].capital;
        return text.len() == 1 || is_capital && (!begins || ends || is_subject);
    }
    let is_answer =
        ends && (at == 0 || text.gap(at) >= Gap::Clause || text.has(at - 1, ANSWER | BE | OPTION));
    if is_answer {
        return true;
    }
    // A word with a capital for another reason: "I", and what begins a sentence.
    let is_common = text.has(at, STOP | NEGATION) && (text.gap(at) >= Gap::Clause || exact == "I");
    let letters = |spelled: &str| spelled.replace('.', "");
    !is_common && letters(found) == letters(exact)
}

/// Words that say something else far more often than they name a place or a person: `a nice view`, `he won`.
fn is_common(word: &str) -> bool {
    matches!(
        word,
        "nice"
            | "won"
            | "reading"
            | "split"
            | "mobile"
            | "young"
            | "long"
            | "frank"
            | "rob"
            | "drew"
            | "bury"
            | "sale"
    )
}

/// A name, and what stands in brackets in it as names of their own.
fn forms(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('(') else {
        return vec![name.to_owned()];
    };
    let Some((inside, after)) = rest.split_once(')') else {
        return vec![name.to_owned()];
    };
    let outside = format!("{before}{after}");
    [outside, inside.to_owned()]
        .into_iter()
        .filter(|form| form.contains(char::is_alphanumeric))
        .collect()
}

fn is_particle(word: &str) -> bool {
    matches!(
        word,
        "de" | "van" | "von" | "la" | "le" | "da" | "di" | "del" | "bin" | "ibn" | "al" | "el"
    )
}

/// Whether a word of a name says that it is no person's: `West Virginia`, `Quebec City`.
fn is_of_places(word: &str) -> bool {
    matches!(
        word,
        "north"
            | "south"
            | "east"
            | "west"
            | "northern"
            | "southern"
            | "eastern"
            | "western"
            | "new"
            | "great"
            | "city"
            | "state"
            | "union"
            | "ocean"
            | "sea"
            | "river"
            | "lake"
            | "island"
            | "bay"
            | "republic"
            | "kingdom"
            | "mountain"
            | "mount"
            | "park"
            | "street"
            | "university"
            | "war"
            | "battle"
            | "symphony"
            | "guinea"
            | "saint"
            | "the"
    )
}

fn is_suffix(word: &str) -> bool {
    matches!(word, "jr" | "sr" | "2" | "3" | "mbe" | "obe" | "cbe")
}

/// The bytes by which words are found that may be alike.
fn stem(word: &str) -> Option<[u8; 5]> {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    word.as_bytes()
        .first_chunk()
        .copied()
        .filter(|_| !is_number)
}

/// Whether two words share their beginning: at least five bytes and seven tenths of the longer.
fn is_like(one: &str, other: &str) -> bool {
    let shared = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    shared >= 5 && 10 * shared >= 7 * one.len().max(other.len())
}
