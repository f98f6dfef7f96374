//! How an answer stands to what it mentions: whether it asserts, denies or merely names it.

use super::cues::{
    AND, ANSWER, ARTICLE, BE, BELIEVE, BESIDE, CONTRAST, CORRECTION, CURRENT, Cue, FORMER, LINK,
    NEGATION, ONLY, OPTION, OR, OTHERS, RELATIVE, TURN, WRONG,
};
use super::names::{Asked, Mention, Names};
use super::roles::Role;
use super::vocabulary::Text;
use super::words::Gap;

/// How a mention stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be what the answer asserts; the higher, the nearer to the question.
    Claimed(i32),
    Denied,
    /// In a question.
    Asked,
    /// Of another subject than the one asked about.
    Elsewhere,
    /// One of several that are left open.
    Open,
}

/// Words before a mention in which a negation denies it.
const REACH: usize = 7;
/// Words that a clause may have on either side of a mention.
const WIDEST: usize = 60;

/// A response and what it is asked.
pub struct Scene<'a> {
    pub text: &'a Text,
    pub names: &'a Names,
    pub asked: &'a Asked,
    /// The subject of the question, if it is a known one.
    pub subject: Option<u32>,
    /// Mentions of answers and of subjects, in order.
    pub mentions: &'a [Mention],
    /// The question's word that each word of the response is a form of.
    pub places: &'a [Option<usize>],
}

impl Scene<'_> {
    /// How each mention of an answer stands.
    pub fn standings(&self) -> Vec<(Mention, Standing)> {
        let mut beside: Vec<bool> = Vec::with_capacity(self.mentions.len());
        for one in self.mentions {
            let is_beside = self.stands_beside(*one, &beside);
            beside.push(is_beside);
        }
        let mut found: Vec<_> = (self.mentions.iter().zip(beside))
            .filter(|(one, _)| self.names.is_answer(one.object))
            .map(|(&one, is_beside)| (one, self.standing(one, is_beside)))
            .collect();
        self.share(&mut found);
        self.leave_open(&mut found);
        self.correct(&mut found);
        found
    }

    fn standing(&self, one: Mention, is_beside: bool) -> Standing {
        if self.text.words.asks(one.first) && !self.is_affirmed(one) {
            return Standing::Asked;
        }
        if self.is_denied_before(one) || self.is_denied_after(one) {
            return Standing::Denied;
        }
        let is_on_other_side = |role: Role| role.is_on_other_side(self.text, one.first, one.last);
        if self.asked.role.is_some_and(is_on_other_side) {
            return Standing::Denied;
        }
        match self.subject_of(one) {
            Some(subject) if Some(subject) != self.subject => Standing::Elsewhere,
            subject => {
                Standing::Claimed(self.claim(one, subject.is_some()) - 4 * i32::from(is_beside))
            }
        }
    }

    /// "Is it gold? Yes."
    fn is_affirmed(&self, one: Mention) -> bool {
        let sentence = |word: usize| self.text.words.list()[word].sentence;
        let next = (one.last..self.text.len()).find(|&i| sentence(i) != sentence(one.last));
        next.is_some_and(|i| matches!(self.folded(i), "yes" | "correct" | "exactly" | "indeed"))
    }

    fn has(&self, word: usize, cue: Cue) -> bool {
        word < self.text.len() && self.text.has(word, cue)
    }

    fn folded(&self, word: usize) -> &str {
        self.text.words.folded(word)
    }

    /// The first word of the clause of a word; a gap stronger than `most` bounds it.
    fn clause_start(&self, word: usize, most: Gap) -> usize {
        let begins = |i: &usize| {
            self.text.gap(*i) > most || *i < word && (self.has(*i, TURN) || self.follows_and(*i))
        };
        let first = word.saturating_sub(WIDEST);
        (first..=word).rev().find(begins).unwrap_or(first)
    }

    /// The word behind the clause of a word.
    fn clause_end(&self, word: usize, most: Gap) -> usize {
        let ends =
            |i: &usize| self.text.gap(*i) > most || self.has(*i, TURN) || self.follows_and(*i);
        let last = self.text.len().min(word + 1 + WIDEST);
        (word + 1..last).find(ends).unwrap_or(last)
    }

    /// Whether `and` before a word joins clauses: an answer stands on both sides, and none directly behind it.
    fn follows_and(&self, word: usize) -> bool {
        if word == 0 || !self.has(word - 1, AND) {
            return false;
        }
        let behind = word + usize::from(self.has(word, ARTICLE));
        let named = self.mentions.iter().find(|one| {
            (one.first..=one.last).contains(&behind) && self.names.is_answer(one.object)
        });
        let sentence = |word: usize| self.text.words.list()[word].sentence;
        let is_second_verb = |one: &Mention| {
            self.has(one.last + 1, BE)
                && (word.saturating_sub(WIDEST)..word)
                    .rev()
                    .take_while(|&i| sentence(i) == sentence(word))
                    .any(|i| self.has(i, BE))
        };
        named.is_none_or(is_second_verb)
            && self
                .mentions
                .iter()
                .any(|one| self.names.is_answer(one.object) && one.last + 1 < word)
            && self
                .mentions
                .iter()
                .any(|one| self.names.is_answer(one.object) && one.first >= word)
    }

    fn is_mentioned(&self, word: usize) -> bool {
        self.mentions
            .iter()
            .any(|one| (one.first..=one.last).contains(&word))
    }

    fn is_denied_before(&self, one: Mention) -> bool {
        if self.is_singled_out(one) {
            return false;
        }
        let start = self.clause_start(one.first, Gap::Space);
        let mut passed_verb_behind_name = false;
        let mut verb = false;
        for i in (start.max(one.first.saturating_sub(REACH))..one.first).rev() {
            if self.is_mentioned(i) {
                passed_verb_behind_name |= verb;
            }
            if self.negates(i) && !passed_verb_behind_name && !self.is_taken_back(i) {
                return true;
            }
            verb |= self.has(i, BE);
        }
        let wide = self.clause_start(one.first, Gap::Comma);
        let is_called_wrong = (wide..one.first)
            .any(|i| self.has(i, WRONG) && !self.is_mentioned(i) && !self.is_about(i));
        is_called_wrong && !self.is_corrected_between(wide, one.first) || self.is_contrasted(one)
    }

    /// "Wrongly Sydney, it is Canberra": a verb between two names parts them.
    fn is_corrected_between(&self, start: usize, end: usize) -> bool {
        (start..end).any(|i| self.is_mentioned(i))
    }

    /// Whether a word negates; not where it is one of the question's, or numbers: `No. 40`.
    fn negates(&self, word: usize) -> bool {
        let numbers = self.folded(word) == "no"
            && word + 1 < self.text.len()
            && self.text.digits(word + 1).is_some();
        let doubts = matches!(self.folded(word), "doubt" | "doubtful")
            && !(word.saturating_sub(2)..word).any(|i| self.has(i, NEGATION));
        (self.has(word, NEGATION) || doubts) && !self.is_about(word) && !numbers
    }

    /// A negation that denies nothing: `not only`, `no doubt`, `not until`, `none other than`.
    fn is_taken_back(&self, negation: usize) -> bool {
        self.has(negation + 1, ONLY)
            || self.has(negation + 1, ARTICLE) && self.has(negation + 2, ONLY)
    }

    /// `not until X`, `nothing other than X`, `nothing but X`.
    fn is_singled_out(&self, one: Mention) -> bool {
        let mut i = one.first;
        while i > 0
            && self.text.gap(i) <= Gap::Space
            && (self.has(i - 1, ARTICLE) || matches!(self.folded(i - 1), "on" | "in"))
        {
            i -= 1;
        }
        let word = |back: usize| i.checked_sub(back).map_or("", |i| self.folded(i));
        matches!(word(1), "until" | "till")
            || word(1) == "than" && word(2) == "other"
            || word(1) == "but" && matches!(word(2), "nothing" | "none" | "nobody")
            || word(1) == "but"
                && word(2) == "anything"
                && (i.saturating_sub(6)..i).any(|i| self.has(i, NEGATION))
    }

    /// `rather than X`, `instead of X`, `unlike X`, `anything but X`, `far from being X`.
    fn is_contrasted(&self, one: Mention) -> bool {
        let mut i = one.first;
        while i > 0 && self.text.gap(i) <= Gap::Space && self.has(i - 1, ARTICLE | LINK) {
            i -= 1;
        }
        let Some(before) = i
            .checked_sub(1)
            .filter(|_| self.text.gap(i) <= Gap::Space || i == one.first)
        else {
            return false;
        };
        if self.text.gap(i) > Gap::Space {
            return false;
        }
        let word = self.folded(before);
        let than = word == "than" && before > 0 && self.has(before - 1, CONTRAST);
        let of = i < one.first && self.has(before, CONTRAST);
        let far = i < one.first && word == "far";
        let but = word == "but"
            && before > 0
            && matches!(self.folded(before - 1), "anything" | "everything");
        than || of || far || but || word == "unlike" || word == "excluding"
    }

    fn is_denied_after(&self, one: Mention) -> bool {
        let end = self.clause_end(one.last, Gap::Space);
        let mut i = one.last + 1;
        if i >= end {
            return false;
        }
        if !self.has(i, BE) && !self.has(i, NEGATION) {
            return false;
        }
        let mut denies = false;
        while i < end && self.has(i, BE | NEGATION) {
            denies |= self.negates(i) && !self.is_taken_back(i);
            i += 1;
        }
        let predicate = i..end;
        if predicate.clone().any(|i| self.is_mentioned(i)) && !denies {
            return false;
        }
        let wrong = predicate.clone().any(|i| self.has(i, WRONG));
        if !denies {
            return wrong;
        }
        let is_bare = predicate.is_empty() || self.asked.is_empty();
        !wrong
            && (is_bare
                || predicate.clone().any(|i| {
                    self.is_about(i)
                        || self.has(i, ANSWER)
                        || matches!(self.folded(i), "it" | "case" | "true" | "one")
                }))
    }

    /// Whether a word is one of the question's.
    fn is_about(&self, word: usize) -> bool {
        self.asked.holds(self.folded(word))
    }

    /// The known subject that a mention is about: one in its clause, or else the last one before it in its sentence.
    fn subject_of(&self, one: Mention) -> Option<u32> {
        let subjects = || {
            self.mentions
                .iter()
                .filter(|other| !self.names.is_answer(other.object))
        };
        let (start, end) = (
            self.clause_start(one.first, Gap::Comma),
            self.clause_end(one.last, Gap::Comma),
        );
        let near = |other: &&Mention| {
            let middle = if other.last < one.first {
                other.last..one.first
            } else {
                one.last + 1..other.first
            };
            let parted = self.mentions.iter().any(|m| {
                self.names.is_answer(m.object)
                    && m.object != one.object
                    && middle.contains(&m.first)
            });
            (start..end).contains(&other.first) && !parted
        };
        let distance = |other: &&Mention| {
            if other.last < one.first {
                one.first - other.last
            } else {
                other.first - one.last
            }
        };
        if let Some(nearest) = subjects().filter(near).min_by_key(distance) {
            return Some(nearest.object);
        }
        let sentence = |word: usize| self.text.words.list()[word].sentence;
        let before = |other: &&Mention| {
            other.last < one.first && sentence(other.first) == sentence(one.first)
        };
        subjects()
            .filter(before)
            .map(|other| other.object)
            .next_back()
    }

    fn claim(&self, one: Mention, is_of_subject: bool) -> i32 {
        let start = self.clause_start(one.first, Gap::Space);
        let end = self.clause_end(one.last, Gap::Space);
        let (before, after) = (start..one.first, one.last + 1..end);
        let mut claim = 2 * self.closeness(start..end) + i32::from(is_of_subject);
        let wide = self.clause_start(one.first, Gap::Comma)..self.clause_end(one.last, Gap::Comma);
        claim += self.closeness(wide).min(1);
        claim += 2 * self.closeness(self.explanation(one));
        claim -= i32::from(self.is_of_something(one));
        claim += 3 * i32::from(self.is_announced(one));
        claim += i32::from(one.first > 0 && self.has(one.first - 1, BE) || self.follows_is(one));
        let is_now = (start..end).any(|i| self.has(i, CURRENT));
        claim += 2 * i32::from(is_now);
        if self.is_belief_of_others(before.clone())
            || self.has(one.last + 1, BE) && self.is_belief_of_others(after.clone())
        {
            claim -= 9;
        }
        if !is_now && self.is_former(before, after) {
            claim -= 8;
        }
        if (self.clause_start(one.first, Gap::Comma)..one.first).any(|i| {
            self.has(i, RELATIVE) && !self.is_about(i) && i > 0 && self.text.gap(i) < Gap::Clause
        }) {
            claim -= 1;
        }
        claim
    }

    /// What stands behind a colon or a dash after it: `Canberra: the capital`.
    fn explanation(&self, one: Mention) -> std::ops::Range<usize> {
        let begin = one.last + 1;
        if begin >= self.text.len() || self.text.gap(begin) != Gap::Clause {
            return begin..begin;
        }
        let ends =
            |&i: &usize| self.is_answer_at(i) || i > begin && self.text.gap(i) >= Gap::Clause;
        let last = self.text.len().min(begin + WIDEST);
        begin..(begin..last).find(ends).unwrap_or(last)
    }

    /// `a contemporary of X`, where the question does not ask for one.
    fn is_of_something(&self, one: Mention) -> bool {
        one.first > 1
            && self.folded(one.first - 1) == "of"
            && !self.is_about(one.first - 2)
            && !matches!(
                self.folded(one.first - 2),
                "city" | "country" | "state" | "town" | "name" | "island"
            )
    }

    /// How many of the question's words stand in a range, at most two.
    fn closeness(&self, range: std::ops::Range<usize>) -> i32 {
        let mut places: Vec<usize> = (range.filter(|&i| !self.is_answer_at(i)))
            .filter_map(|i| self.places[i])
            .collect();
        places.sort_unstable();
        places.dedup();
        i32::try_from(places.len().min(2)).unwrap_or(2)
    }

    fn is_answer_at(&self, word: usize) -> bool {
        let holds = |one: &&Mention| (one.first..=one.last).contains(&word);
        self.mentions
            .iter()
            .find(holds)
            .is_some_and(|one| self.names.is_answer(one.object))
    }

    /// `The answer is X`, `Final answer: X`, `X is correct`.
    fn is_announced(&self, one: Mention) -> bool {
        let sentence = |word: usize| self.text.words.list()[word].sentence;
        let before = one.first.saturating_sub(6)..one.first;
        let mut near =
            before.filter(|&i| sentence(i) == sentence(one.first) && !self.has(i, OTHERS));
        let parted = |i: usize| (i..one.first).any(|i| self.is_answer_at(i));
        near.any(|i| self.has(i, ANSWER) && !parted(i))
            || self.has(one.last + 1, BE)
                && (one.last + 2..one.last + 5)
                    .any(|i| self.has(i, ANSWER) && sentence(i) == sentence(one.last))
    }

    /// `it is the X`.
    fn follows_is(&self, one: Mention) -> bool {
        one.first > 1 && self.has(one.first - 1, ARTICLE) && self.has(one.first - 2, BE)
    }

    /// `many people think`, `it is often said`, `I would have said`.
    fn is_belief_of_others(&self, range: std::ops::Range<usize>) -> bool {
        let others = range
            .clone()
            .find(|&i| self.has(i, OTHERS) && !self.is_mentioned(i));
        let by_others = others.is_some_and(|from| {
            (from..range.end).any(|i| self.has(i, BELIEVE) && !self.is_about(i))
        });
        by_others
            || range
                .skip(1)
                .any(|i| self.has(i, BELIEVE) && self.folded(i - 1) == "have")
    }

    /// `formerly X`, `X until 1927`, `I first thought X`.
    fn is_former(&self, before: std::ops::Range<usize>, after: std::ops::Range<usize>) -> bool {
        let counts = |i: usize| self.has(i, FORMER) && !self.is_mentioned(i);
        let is_first = |i: usize| self.folded(i) == "1";
        let denied = |i: usize| (i.saturating_sub(4)..i).any(|i| self.has(i, NEGATION));
        // "X was the capital ...; today it is Y"
        let was = after
            .clone()
            .next()
            .is_some_and(|i| matches!(self.folded(i), "was" | "were"));
        let elsewhere =
            |i: &usize| self.has(*i, CURRENT) && !before.contains(i) && !after.contains(i);
        if was && (0..self.text.len()).any(|i| elsewhere(&i)) {
            return true;
        }
        before
            .clone()
            .any(|i| counts(i) && (!is_first(i) || self.has(i + 1, BELIEVE)) && !denied(i))
            || after.take(5).any(|i| counts(i) && !is_first(i))
    }

    /// `near X`, `between X and Y`, `north of X`, `larger than X`; `beside` says it of the mentions before.
    fn stands_beside(&self, one: Mention, beside: &[bool]) -> bool {
        let mut i = one.first;
        while i > 0 && self.text.gap(i) <= Gap::Space && self.has(i - 1, ARTICLE) {
            i -= 1;
        }
        if i > 0 && self.text.gap(i) == Gap::Comma && self.follows_beside(i, beside) {
            return true;
        }
        let Some(before) = i.checked_sub(1).filter(|_| self.text.gap(i) <= Gap::Space) else {
            return false;
        };
        let word = self.folded(before);
        if self.has(before, BESIDE)
            || word == "from"
            || word == "as" && before > 0 && self.folded(before - 1) == "such"
        {
            return true;
        }
        if word == "of" && before > 0 {
            return matches!(
                self.folded(before - 1),
                "north"
                    | "south"
                    | "east"
                    | "west"
                    | "northeast"
                    | "northwest"
                    | "southeast"
                    | "southwest"
                    | "outside"
                    | "coast"
                    | "border"
            );
        }
        self.has(before, AND) && self.follows_beside(before, beside)
    }

    /// Whether a mention that stands beside ends before a word, as in a list.
    fn follows_beside(&self, word: usize, beside: &[bool]) -> bool {
        (self.mentions.iter().zip(beside))
            .any(|(other, &is_beside)| is_beside && other.last + 1 == word)
    }

    /// What `and` joins is claimed as the first of it is.
    fn share(&self, found: &mut [(Mention, Standing)]) {
        let mut first = 0;
        while first < found.len() {
            let mut last = first;
            let plain = |one: Mention, other: Mention| {
                let is_parted =
                    one.last + 1 < other.first || self.text.gap(other.first) == Gap::Comma;
                is_parted && self.text.goes_on(one.last, other.first)
            };
            while last + 1 < found.len() && plain(found[last].0, found[last + 1].0) {
                last += 1;
            }
            let ends_in_and = last > first && self.has(found[last].0.first - 1, AND | ARTICLE);
            if ends_in_and {
                let claims = || {
                    found[first..=last]
                        .iter()
                        .filter_map(|(_, standing)| match standing {
                            Standing::Claimed(claim) => Some(*claim),
                            _ => None,
                        })
                };
                let shared = claims().next();
                for (_, standing) in &mut found[first..=last] {
                    if let (Standing::Claimed(claim), Some(shared)) = (standing, shared) {
                        *claim = shared;
                    }
                }
            }
            first = last + 1;
        }
    }

    /// Marks mentions that are left open: joined by `or`, or listed behind `options`.
    fn leave_open(&self, found: &mut [(Mention, Standing)]) {
        let joined = |one: Mention, other: Mention| {
            let near = other.first.saturating_sub(one.last) <= 6
                && self.text.in_one_clause(one.last, other.first);
            let plain = (one.last + 1..other.first)
                .all(|w| self.has(w, OR | AND | ARTICLE | OPTION | BE) || self.folded(w) == "it");
            near && plain && one.object != other.object
        };
        for i in 0..found.len() {
            let mut last = i;
            while last + 1 < found.len() && joined(found[last].0, found[last + 1].0) {
                last += 1;
            }
            let is_list = last > i;
            let is_alternative =
                (found[i].0.last + 1..found[last].0.first).any(|w| self.has(w, OR));
            let start = self.text.words.list()[found[i].0.first].sentence;
            let behind = (found[i].0.first.saturating_sub(8)..found[i].0.first).any(|w| {
                self.text.words.list()[w].sentence == start
                    && (self.has(w, OPTION) || self.folded(w) == "1" && self.folded(w + 1) == "of")
            });
            if is_list && (is_alternative || behind) {
                for (_, standing) in &mut found[i..=last] {
                    if matches!(standing, Standing::Claimed(_)) {
                        *standing = Standing::Open;
                    }
                }
            }
        }
    }

    /// After a correction what was claimed before it no longer is, unless what follows is farther from the question.
    fn correct(&self, found: &mut [(Mention, Standing)]) {
        for i in 1..found.len() {
            let Standing::Claimed(claim) = found[i].1 else {
                continue;
            };
            let between = found[i - 1].0.last + 1..found[i].0.first;
            let corrects = |w: usize| {
                self.has(w, CORRECTION) && self.folded(w) != "fact" || self.folded(w) == "no"
            };
            if !between.clone().any(corrects) {
                continue;
            }
            let object = found[i].0.object;
            for (one, standing) in &mut found[..i] {
                if one.object != object
                    && matches!(*standing, Standing::Claimed(before) if before <= claim + 4)
                {
                    *standing = Standing::Denied;
                }
            }
        }
    }
}
