//! What an answer in a model's own words asserts.

use super::cues::TURN;
use super::names::{Asked, Found, Mention, Names, Rule};
use super::standing::{Scene, Standing};
use super::vocabulary::Text;

/// What a response does with the objects that it could assert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Asserts,
    /// Several objects, as the one answer.
    AssertsSeveral,
    /// It denies objects, and asserts none.
    Denies,
    /// It names them in questions only.
    AsksBack,
    /// It leaves open which of several.
    LeavesOpen,
    /// It speaks of another subject.
    OfAnotherSubject,
    /// None of them is there.
    NamesNone,
}

impl Verdict {
    pub const ALL: [Self; 7] = [
        Self::Asserts,
        Self::AssertsSeveral,
        Self::Denies,
        Self::AsksBack,
        Self::LeavesOpen,
        Self::OfAnotherSubject,
        Self::NamesNone,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "asserts",
            "asserts several",
            "denies",
            "asks back",
            "leaves open",
            "of another subject",
            "names none",
        ][self as usize]
    }
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Date,
        Self::Number,
        Self::Person,
        Self::LastName,
        Self::Words,
        Self::MostWords,
        Self::Part,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "name",
            "date",
            "number",
            "person",
            "last name",
            "words",
            "most words",
            "part",
        ][self as usize]
    }
}

/// A response read. `start` and `end` are characters of what asserts the object: its sentence, from a `but` before it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub verdict: Verdict,
    /// The object asserted, or one that is denied.
    pub object: Option<u32>,
    pub rule: Option<Rule>,
    pub start: u32,
    pub end: u32,
}

/// Memory that is kept from text to text.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    text: Text,
    mentions: Vec<Mention>,
    found: Found,
    places: Vec<Option<usize>>,
}

/// Reads answers to questions that share their objects.
#[derive(Debug, Clone)]
pub struct Reader {
    names: Names,
    answers: u32,
}

impl Reader {
    /// `answers` holds the names of each object that may be asserted, `subjects` those of what questions are about.
    #[must_use]
    pub fn new(answers: &[Vec<String>], subjects: &[Vec<String>]) -> Self {
        let count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let objects: Vec<_> = answers.iter().chain(subjects).cloned().collect();
        Self {
            names: Names::new(&objects, count),
            answers: count,
        }
    }

    /// The words of a question.
    #[must_use]
    pub fn asked(&self, question: &str) -> Asked {
        self.names.asked(question)
    }

    /// What a response to a question asserts; `subject` is the place of the question's subject among the subjects.
    pub fn read(
        &self,
        response: &str,
        asked: &Asked,
        subject: Option<u32>,
        scratch: &mut Scratch,
    ) -> Reading {
        let Scratch {
            text,
            mentions,
            found,
            places,
        } = scratch;
        text.read(response, self.names.known());
        self.names.whole(text, response, mentions);
        if !mentions.iter().any(|one| self.names.is_answer(one.object)) {
            let mut loose = Vec::new();
            self.names.loose(text, asked, found, &mut loose);
            mentions.append(&mut loose);
            mentions.sort_by_key(|one| one.first);
        }
        if !mentions.iter().any(|one| self.names.is_answer(one.object)) {
            return decide(&[], text, response);
        }
        places.clear();
        places.extend((0..text.len()).map(|i| asked.place(text.words.folded(i))));
        let scene = Scene {
            text,
            names: &self.names,
            asked,
            subject: subject.map(|subject| self.answers + subject),
            mentions,
            places,
        };
        decide(&scene.standings(), text, response)
    }
}

fn decide(standings: &[(Mention, Standing)], text: &Text, response: &str) -> Reading {
    let claimed = || {
        standings
            .iter()
            .filter_map(|&(one, standing)| match standing {
                Standing::Claimed(claim) => Some((one, claim)),
                _ => None,
            })
    };
    let reading = |verdict, object, rule| Reading {
        verdict,
        object,
        rule,
        start: 0,
        end: 0,
    };
    if let Some(most) = claimed().map(|(_, claim)| claim).max() {
        let best: Vec<Mention> = claimed()
            .filter(|&(_, claim)| claim == most)
            .map(|(one, _)| one)
            .collect();
        let sentence = |one: &Mention| text.words.list()[one.first].sentence;
        let first = sentence(&best[0]);
        // What stands beside it in a list is claimed as well; what comes later in the sentence is not.
        let listed = |pair: &[Mention]| {
            pair[1].first <= pair[0].last || text.goes_on(pair[0].last, pair[1].first)
        };
        let together = 1 + best.windows(2).take_while(|pair| listed(pair)).count();
        let mut objects: Vec<u32> = best[..together].iter().map(|one| one.object).collect();
        objects.sort_unstable();
        objects.dedup();
        let every: Vec<u32> = claimed().map(|(one, _)| one.object).collect();
        if most < 0 && every.iter().any(|&object| object != every[0]) {
            return reading(Verdict::LeavesOpen, None, Some(best[0].rule));
        }
        if objects.len() > 1 {
            return reading(Verdict::AssertsSeveral, None, Some(best[0].rule));
        }
        let list = text.words.list();
        let (mut start, mut end) = (best[0].first, best[0].last);
        while start > 0 && list[start - 1].sentence == first && !text.has(start - 1, TURN) {
            start -= 1;
        }
        while end + 1 < list.len() && list[end + 1].sentence == first {
            end += 1;
        }
        let characters =
            |bytes: usize| u32::try_from(response[..bytes].chars().count()).unwrap_or(u32::MAX);
        return Reading {
            start: characters(list[start].start),
            end: characters(list[end].end),
            ..reading(Verdict::Asserts, Some(objects[0]), Some(best[0].rule))
        };
    }
    let with = |wanted: Standing| standings.iter().find(|&&(_, standing)| standing == wanted);
    for (standing, verdict) in [
        (Standing::Open, Verdict::LeavesOpen),
        (Standing::Denied, Verdict::Denies),
        (Standing::Asked, Verdict::AsksBack),
        (Standing::Elsewhere, Verdict::OfAnotherSubject),
    ] {
        if let Some((one, _)) = with(standing) {
            return reading(verdict, Some(one.object), Some(one.rule));
        }
    }
    reading(Verdict::NamesNone, None, None)
}
