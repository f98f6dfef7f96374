//! Who does what to whom: of two names beside *beat*, one alone can be the answer.

use super::cues::{ARTICLE, NEGATION, RELATIVE};
use super::vocabulary::Text;
use super::words::Gap;

/// On which side of a deed a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Does,
    Suffers,
}

/// What a question asks for: who did a deed, or to whom it was done.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    deed: usize,
    side: Side,
}

/// Verbs whose two sides are easily taken for each other, a deed a line.
const DEEDS: [&str; 6] = [
    "beat beaten beating defeat defeated defeating vanquish vanquished",
    "kill killed killing murder murdered assassinate assassinated",
    "conquer conquered conquering",
    "overthrow overthrew overthrown depose deposed",
    "succeed succeeded succeeding replace replaced replacing",
    "precede preceded preceding",
];
const BEAT: usize = 0;

/// Words between a name and the verb of which it is the subject, or between a verb and its *by*.
const REACH: usize = 4;

fn deed(word: &str) -> Option<usize> {
    DEEDS
        .iter()
        .position(|forms| forms.split(' ').any(|form| form == word))
}

fn is_passive(word: &str) -> bool {
    matches!(
        word,
        "is" | "are" | "was" | "were" | "be" | "been" | "being"
    )
}

impl Role {
    /// `Who beat X?`, `Who won?`; `Who was beaten by X?`, `Whom did X beat?`
    pub fn asked(question: &Text) -> Option<Self> {
        let folded = |i: usize| question.words.folded(i);
        let words = 0..question.len();
        let wins = |i: usize| matches!(folded(i), "win" | "won" | "winner" | "champion");
        if words.clone().any(wins) {
            let (deed, side) = (BEAT, Side::Does);
            return Some(Self { deed, side });
        }
        let (at, deed) = words.clone().find_map(|i| Some((i, deed(folded(i))?)))?;
        let turned = (0..at).any(|i| is_passive(folded(i)) || matches!(folded(i), "did" | "does"));
        let is_subject = at > 0 && matches!(folded(at - 1), "who" | "that" | "which" | "to");
        let asks_by = folded(0) == "by" || folded(question.len() - 1) == "by";
        let suffers = turned && !is_subject && !asks_by;
        let side = if suffers { Side::Suffers } else { Side::Does };
        Some(Self { deed, side })
    }

    /// Whether a name stands on the other side of the deed than the one asked about.
    pub fn is_on_other_side(self, text: &Text, first: usize, last: usize) -> bool {
        let side = side_behind(text, last, self.deed);
        let side = side.or_else(|| side_before(text, first, self.deed));
        side.is_some_and(|side| side != self.side)
    }
}

/// By the verb behind a name: `X beat`, `X was beaten`, `X lost to`.
fn side_behind(text: &Text, last: usize, deed_asked: usize) -> Option<Side> {
    let folded = |i: usize| text.words.folded(i);
    let end = text.len().min(last + 2 + REACH);
    let mut passive = false;
    for i in last + 1..end {
        let next = |word: &str| i + 1 < text.len() && folded(i + 1) == word;
        // "X, beaten by Y, went home"
        let follows = i == last + 1 && next("by") && text.gap(i) == Gap::Comma;
        if text.gap(i) > Gap::Space && !follows || text.has(i, NEGATION | RELATIVE) {
            return None;
        }
        if deed(folded(i)) == Some(deed_asked) {
            let suffers = passive || next("by");
            return Some(if suffers { Side::Suffers } else { Side::Does });
        }
        if deed_asked == BEAT && is_loss(folded(i)) && (next("to") || next("against")) {
            return Some(Side::Suffers);
        }
        passive |= is_passive(folded(i));
    }
    None
}

/// By what stands before a name: `beat X`, `beaten by X`, `lost to X`.
fn side_before(text: &Text, first: usize, deed_asked: usize) -> Option<Side> {
    let folded = |i: usize| text.words.folded(i);
    let mut first = first;
    while first > 0 && text.gap(first) <= Gap::Space && text.has(first - 1, ARTICLE) {
        first -= 1;
    }
    let before = first
        .checked_sub(1)
        .filter(|_| text.gap(first) <= Gap::Space)?;
    let near = before.saturating_sub(REACH)..before;
    let negated = near.clone().any(|i| text.has(i, NEGATION));
    let is_deed = |i: usize| deed(folded(i)) == Some(deed_asked);
    match folded(before) {
        _ if negated => None,
        "by" if near.clone().any(is_deed) => Some(Side::Does),
        "to" | "against" if deed_asked == BEAT && near.clone().any(|i| is_loss(folded(i))) => {
            Some(Side::Does)
        }
        _ if is_deed(before) && !near.clone().any(|i| is_passive(folded(i))) => Some(Side::Suffers),
        _ => None,
    }
}

fn is_loss(word: &str) -> bool {
    matches!(word, "lose" | "lost" | "losing")
}
