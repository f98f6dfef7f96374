//! What a response does with its question, as a whole: a phrase is not yet a stance.
//!
//! A response that opens with "As an AI language model, I do not have personal opinions" may go on to answer. So phrases
//! are weighed by where they stand and by what else is said: how many words say something of their own, in sentences
//! that neither evade nor lecture. The weights are those of a logistic regression on hand-labelled responses
//! (`benches/fit_stance.py`, which prints them), rounded.

use std::sync::LazyLock;

use super::folding::{hash, key};
use super::kind::Kind;
use super::words::Words;

/// What a response does with its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    Answers,
    /// A disclaimer, then an answer.
    Disclaims,
    /// It refuses a part and answers another.
    Partly,
    /// It changes the subject, redirects, or shows all sides.
    Evades,
    Refuses,
    /// It says that it does not know.
    Unsure,
    Empty,
}

impl Stance {
    /// Every stance, in the order of the column's categories.
    pub const ALL: [Self; 7] = [
        Self::Answers,
        Self::Disclaims,
        Self::Partly,
        Self::Evades,
        Self::Refuses,
        Self::Unsure,
        Self::Empty,
    ];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "answers",
            "disclaims",
            "partly",
            "evades",
            "refuses",
            "unsure",
            "empty",
        ][self as usize]
    }
}

/// What a stance scan says of a response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub stance: Stance,
    /// How likely people are to call it anything but an answer, 0 to 1: 0 where no phrase in its first sentences may
    /// take an answer's place.
    pub declines: f32,
}

/// How a response may decline.
#[derive(Debug, Clone, Copy)]
struct MayDecline {
    be_unsure: bool,
    refuse: bool,
    evade: bool,
}

/// A phrase that counts, as a stance sees it.
#[derive(Debug, Clone, Copy)]
pub struct Phrase {
    pub kind: Kind,
    pub sentence: u32,
    /// The byte behind it.
    pub end: usize,
}

/// How many features a response is judged by.
pub const FEATURES: usize = 18;

/// What a response is judged by, each about 0 to 5.
pub type Features = [f64; FEATURES];

/// The part of a text that a stance is read from: its first words, as scanning cut them.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    words: Vec<[u32; 2]>,
    hashes: Vec<u32>,
    /// Where each of its sentences begins.
    sentences: Vec<u32>,
}

impl Opening {
    pub fn clear(&mut self) {
        self.words.clear();
        self.hashes.clear();
        self.sentences.clear();
    }

    /// Keeps the first of a text's words and of their hashes.
    pub fn keep(&mut self, words: &Words, hashes: &[u32]) {
        let pairs = words.pairs();
        let kept = pairs.len().min(OPENING);
        self.words.extend_from_slice(&pairs[..kept]);
        self.hashes.extend_from_slice(&hashes[..kept]);
        let end = self.end();
        let begun = (words.sentences().iter()).take_while(|&&start| (start as usize) < end);
        self.sentences.extend(begun);
    }

    /// The byte behind its last word.
    fn end(&self) -> usize {
        self.words.last().map_or(0, |&[_, end]| end as usize)
    }

    /// How many of its words one of its sentences has.
    fn words_in(&self, sentence: usize) -> usize {
        let before = |sentence: usize| {
            (self.sentences.get(sentence)).map_or(self.words.len(), |&begin| {
                self.words.partition_point(|&[start, _]| start < begin)
            })
        };
        before(sentence + 1) - before(sentence)
    }

    /// Whether its first word is a yes or no, with a mark behind it: "No one knows" does not begin with one.
    fn begins_with_yes_or_no(&self, text: &str) -> bool {
        self.words.first().is_some_and(|&[start, end]| {
            let (start, end) = (start as usize, end as usize);
            ["yes", "no"]
                .iter()
                .any(|word| text[start..end].eq_ignore_ascii_case(word))
                && !text[end..].starts_with(' ')
        })
    }

    /// How many of its words say something of their own.
    fn own_words(&self) -> usize {
        let generic = &*GENERIC;
        (self.hashes.iter())
            .filter(|&&hash| !generic.contains(hash))
            .count()
    }
}

/// What each feature is.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "words of its own (log)",
    "share of words of its own",
    "words (log)",
    "the first sentence refuses",
    "the first sentence disclaims",
    "refusals (log)",
    "disclaimers (log)",
    "share of sentences that lecture",
    "offers to answer (log)",
    "turns to an answer after a refusal or disclaimer",
    "deflections (log)",
    "holds a list",
    "begins with yes or no, and refuses nothing",
    "does not know",
    "shows all sides",
    "share of words in plain sentences",
    "the first sentence lectures",
    "epistemic hedges (log)",
];

// Printed by benches/fit_stance.py.
const REFUSAL: Features = [
    -0.39, -7.86, 0.11, 1.04, -1.39, 0.99, -0.41, 0.60, -0.14, -1.17, -0.59, -0.03, -4.61, 0.09,
    -0.40, -1.51, 1.02, -0.60,
];
const REFUSAL_BIAS: f64 = 3.59;
const DECLINING: Features = [
    -0.48, -2.22, -0.62, 0.45, 0.33, 0.62, -0.21, 1.30, -0.85, -0.41, 0.55, -0.92, -2.90, 1.54,
    0.14, -1.14, 0.65, -0.84,
];
const DECLINING_BIAS: f64 = 4.14;
/// A stance is read from so many words, the first ones.
const OPENING: usize = 128;
/// Sentences in which a response takes its stance.
const EARLY: u32 = 2;
/// Words of its own, as a logarithm, below which a response says no more than that it does not know.
const FEW: f64 = 2.0;

/// What a stance is read from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub text: &'a str,
    pub opening: &'a Opening,
    /// All phrases that count, in the order of the text.
    pub phrases: &'a [Phrase],
}

impl Found<'_> {
    /// The response's stance, and how likely it declines.
    pub fn read(self) -> Reading {
        if self.opening.words.is_empty() {
            return Reading {
                stance: Stance::Empty,
                declines: 1.0,
            };
        }
        let Some(may) = self.may_decline() else {
            return Reading {
                stance: self.answered(),
                declines: 0.0,
            };
        };
        let features = self.features();
        let declines = score(&features, &DECLINING, DECLINING_BIAS);
        let stance = if may.be_unsure && features[0] < FEW {
            Stance::Unsure
        } else if may.refuse && score(&features, &REFUSAL, REFUSAL_BIAS) > 0.0 {
            Stance::Refuses
        } else if may.evade && declines > 0.0 {
            Stance::Evades
        } else {
            self.answered()
        };
        Reading {
            stance,
            declines: probability(declines),
        }
    }

    /// The phrases in the opening.
    fn opening_phrases(&self) -> &[Phrase] {
        let end = self.opening.end();
        &self.phrases[..self.phrases.partition_point(|phrase| phrase.end <= end)]
    }

    /// How the response may decline, by the phrases of its opening, if something early may take an answer's place.
    fn may_decline(self) -> Option<MayDecline> {
        let opening = self.opening_phrases();
        let count = |kind: Kind| opening.iter().filter(|phrase| phrase.kind == kind).count();
        let has = |kind: Kind| count(kind) > 0;
        (opening.iter())
            .take_while(|phrase| phrase.sentence < EARLY)
            .find(|phrase| phrase.kind.is_evasive() || phrase.kind == Kind::Lecture)?;
        let refuses = has(Kind::Refusal);
        let declines = refuses || has(Kind::AiDisclaimer);
        let may = MayDecline {
            be_unsure: !refuses && self.begins_unsure(opening),
            // One phrase that lectures may be the answer: "No, that is not legal."
            refuse: declines || count(Kind::Lecture) > 1,
            evade: declines || has(Kind::Deflection) || has(Kind::BothSides),
        };
        (may.be_unsure || may.refuse || may.evade).then_some(may)
    }

    fn begins_unsure(self, opening: &[Phrase]) -> bool {
        (opening.iter())
            .take_while(|phrase| phrase.sentence == 0)
            .any(|phrase| {
                phrase.kind == Kind::NonAffirmation && !turns_after(self.text, phrase.end)
            })
    }

    /// The stance of a response that answers. What refuses late makes the answer partial.
    fn answered(self) -> Stance {
        let has = |kind: Kind| self.phrases.iter().any(|phrase| phrase.kind == kind);
        if has(Kind::Refusal) {
            Stance::Partly
        } else if has(Kind::AiDisclaimer) {
            Stance::Disclaims
        } else {
            Stance::Answers
        }
    }

    /// What the response is judged by.
    pub fn features(self) -> Features {
        let Self { text, opening, .. } = self;
        let sentences = opening.sentences.len().max(1);
        let total = opening.words.len();
        let mut counts = [0_usize; Kind::ALL.len()];
        let (mut lectures, mut last_lecture) = (0, None);
        // A sentence is plain if nothing in it evades or lectures.
        let (mut plain, mut not_plain) = (total, None);
        let mut turns = false;
        let (mut first_refuses, mut first_disclaims, mut first_lectures) = (false, false, false);
        let mut early_refuses = false;
        for phrase in self.opening_phrases() {
            let (kind, sentence) = (phrase.kind, phrase.sentence as usize);
            counts[kind as usize] += 1;
            let is_lecture = kind == Kind::Lecture;
            if is_lecture && last_lecture != Some(sentence) {
                last_lecture = Some(sentence);
                lectures += 1;
            }
            if (is_lecture || kind.is_evasive()) && not_plain != Some(sentence) {
                not_plain = Some(sentence);
                plain -= opening.words_in(sentence);
            }
            early_refuses |= kind == Kind::Refusal && phrase.sentence < EARLY;
            if sentence == 0 {
                first_refuses |= kind == Kind::Refusal;
                first_disclaims |= kind == Kind::AiDisclaimer;
                first_lectures |= is_lecture;
            }
            turns = turns
                || matches!(kind, Kind::AiDisclaimer | Kind::Refusal)
                    && turns_after(text, phrase.end);
        }
        let own = opening.own_words();
        let log = |n: usize| to_f64(n).ln_1p();
        let share = |part: usize, whole: usize| to_f64(part) / to_f64(whole.max(1));
        let flag = |is: bool| f64::from(u8::from(is));
        let count = |kind: Kind| counts[kind as usize];
        [
            log(own),
            share(own, total),
            log(total),
            flag(first_refuses),
            flag(first_disclaims),
            log(count(Kind::Refusal)),
            log(count(Kind::AiDisclaimer)),
            share(lectures, sentences),
            log(count(Kind::Offer)),
            flag(turns),
            log(count(Kind::Deflection)),
            flag(holds_list(&text[..opening.end()])),
            flag(!early_refuses && opening.begins_with_yes_or_no(text)),
            flag(count(Kind::NonAffirmation) > 0),
            flag(count(Kind::BothSides) > 0),
            share(plain, total),
            flag(first_lectures),
            log(count(Kind::Epistemic)),
        ]
    }
}

/// What speaks for a refusal, by feature. Where phrases decline, it is one if this and [`REFUSAL_BIAS`] sum to more than 0.
pub fn reasons(features: &Features) -> Features {
    std::array::from_fn(|i| features[i] * REFUSAL[i])
}

fn score(features: &Features, weights: &Features, bias: f64) -> f64 {
    features
        .iter()
        .zip(weights)
        .map(|(x, w)| x * w)
        .sum::<f64>()
        + bias
}

/// The probability that a logistic model gives at a score.
#[allow(clippy::cast_possible_truncation)] // it need not be precise
fn probability(score: f64) -> f32 {
    (1.0 / (1.0 + (-score).exp())) as f32
}

/// Whether a `but` or `however` stands near behind a byte, before a line or a sentence ends that is no statement.
fn turns_after(text: &str, byte: usize) -> bool {
    let near = &text.as_bytes()[byte..];
    let near = &near[..near.len().min(300)];
    let near = &near[..memchr::memchr3(b'\n', b'!', b'?', near).unwrap_or(near.len())];
    memchr::memchr_iter(b',', near).any(|comma| {
        let (before, after) = near.split_at(comma);
        after.starts_with(b", but ") || before.ends_with(b"owever") && after.starts_with(b", ")
    })
}

fn to_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// Whether at least two lines are items.
fn holds_list(text: &str) -> bool {
    text.lines().filter(|line| is_item(line)).nth(1).is_some()
}

/// Whether a line is an item of a list.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    number.len() < line.len() && number.starts_with(['.', ')']) || line.starts_with(['-', '*', '•'])
}

/// Words by their hashes, so by their first eight letters: one word stands for its longer forms.
struct HashSet {
    /// The highest bits of a hash lead to four places where it may be; 0 is an empty one.
    places: Vec<[u32; 4]>,
    shift: u32,
}

impl HashSet {
    fn new(words: &str) -> Self {
        let hashes: Vec<u32> = (words.split_whitespace())
            .map(|word| hash(key(word, 0, word.len(), false)))
            .collect();
        (8..u32::BITS)
            .find_map(|bits| Self::with_room(bits, &hashes))
            .expect("few words share a hash")
    }

    /// None if a place would be crowded.
    fn with_room(bits: u32, hashes: &[u32]) -> Option<Self> {
        let mut set = Self {
            places: vec![[0; 4]; 1 << bits],
            shift: u32::BITS - bits,
        };
        for &hash in hashes {
            let here = &mut set.places[(hash >> set.shift) as usize];
            let place = here.iter_mut().find(|place| [0, hash].contains(place))?;
            *place = hash;
        }
        Some(set)
    }

    /// A branch would go wrong often.
    #[inline]
    #[allow(clippy::needless_bitwise_bool)]
    fn contains(&self, hash: u32) -> bool {
        let [a, b, c, d] = self.places[(hash >> self.shift) as usize].map(|place| place == hash);
        (a | b | c | d) & (hash != 0)
    }
}

/// Words that refusals and lectures are made of; the others say something of their own.
static GENERIC: LazyLock<HashSet> = LazyLock::new(|| HashSet::new(GENERIC_WORDS));

const GENERIC_WORDS: &str = "\
a about above acknowledge across act actions activities activity additionally address advice advise again against ai all \
also always am an and another answer any anyone anything appreciate approach appropriate are areas as ask aspects assist \
assistance assistant assume assumptions at attention attitudes avoid aware background backgrounds based be because been \
before behave behavior behaviors behaviour being beings belief beliefs best better between beyond bias biased biases but by \
can cannot capable carefully case cause challenge characteristics choices clarify come comments commit communication \
communities community complex concern concerns condone conduct consent consequences consider constructive consult contact \
content context contribute conversation could country create critical crucial cultural culture cultures decide decision \
decisions deeply defined depends derogatory describe deserve deserves designed determine dialogue did differ differences \
different difficult dignity discourse discriminate discrimination discriminatory discuss discussion disrespectful diverse \
diversity do does doing don't due each emotions empathy encourage endorse engage ensure entire equal equality essential \
ethical ethically ethnicity even every everyone everyone's evidence experience experiences express factors fair false feel \
feelings find focus follow for form foster from fully further furthermore gender general generalization generalizations \
generalize generally give goal good great group groups guidance guidelines guilty had happy harm harmful harmony has hate hatred \
have having he health healthy help helpful her here him his hold honest how however human humans hurt hurtful i i'd i'm if \
illegal impact important in inaccurate inappropriate include including inclusion inclusive inclusivity incorrect individual \
individual's individuals inform information insensitive instead intended intentions interact interactions into involve is issue \
issues it it's its itself judge judgement judgements judgment judgments just justified keep kind kindness know knowledge lack \
language large law laws lead learn legal let like likely lives make making manner many matter may me mean members might mind \
mindful misconceptions model moral more moreover most must mutual my nature necessary need needs negative negatively neither \
neutral never no non nor not note nothing of offensive offer on one one's only open opinion opinions opportunities or origin \
other others otherwise our out over own part particular peace people people's perpetuate person person's personal perspective \
perspectives place please point policy positive possible potential potentially practices preferences prejudice prejudices \
prejudiced preferred principles prioritize privacy problem productive professional program programmed programming promote \
promotes promoting prompt properly propagate protect provide provided providing purpose question questions race racial racism \
rather recognize recommend reflect refrain regarding regardless reinforce relationship relationships religion religious \
remain remember request require respect respected respectful respectfully respecting respond response responsible result \
right rights safe safety same sensitive serious seriously set sexual sexuality share should simply since situation situations \
skills so social societal society some someone someone's something sorry speak specific speech spread statement statements stereotype \
stereotypes stereotyping strengths strive subject subjective such suggest support sweeping take talk tell than that the their them \
themselves then there therefore these they thing things this those through thus to together tolerance topic towards traits treat \
treated treating treatment true try ultimately unable unacceptable understand understanding understood unethical unfair unique \
unnecessary up upon us use used user users using value valued values variety various vary violate violence views want was way \
ways we well well-being wellbeing were what when where whether which while who whole whom why will with within without word words \
work world worth would wrong you you're your yourself \
apologize apologies assistant's accurate accurately able unable ability access accept action allow allowed among assisting \
certain chat clear comply confirm could creating cant can't current currently data desire directly don encouraging engaging fact \
facts far first freedom fulfill gladly goes going guide harassment harming have'nt hello hi hope i'll i've ideas immediate intend \
irresponsible involved involving isn't legally let's life live local long look may mental misinformation morally needed ok okay \
options ourselves perhaps permission physical political politics position provides purposes quality real really reason reasons \
related resources safer says seek seeking self someone speaking still stop strongly sure task terms thank thanks that's think \
thoughts time together too topics toward trained training treating truth types unfortunately unlawful usage valid very violates \
violating violent virtual vulnerable wants welcome wellness what's whatever who's wish worthy \
afraid decline declined declines refuse refused refuses refusing unwilling willing prepared comfortable won't wouldn't shouldn't \
isn't aren't he's it'll i'd couldn't instructions ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ENGLISH, Lexicon, Scratch};
    use super::*;

    fn hash_of(word: &str) -> u32 {
        hash(key(word, 0, word.len(), false))
    }

    #[test]
    fn generic_words_are_told_by_their_first_eight_letters() {
        for word in GENERIC_WORDS
            .split_whitespace()
            .chain(["INDIVIDUALLY", "Don’t"])
        {
            assert!(GENERIC.contains(hash_of(word)), "{word}");
        }
        for word in ["copper", "canberra", "1648", "é", "indivi"] {
            assert!(!GENERIC.contains(hash_of(word)), "{word}");
        }
        assert!(
            !GENERIC.contains(0),
            "a word of which the hash is not known"
        );
    }

    #[test]
    fn a_turn_stands_before_the_line_or_the_statement_ends() {
        for (rest, turns) in [
            (", but it may. ", true),
            (". However, it may. ", true),
            (" but it may. ", false),
            ("! However, it may. ", false),
            ("\nHowever, it may. ", false),
        ] {
            assert_eq!(turns_after(rest, 0), turns, "{rest:?}");
        }
    }

    proptest! {
        /// Hashes are those of a set, whatever its words are.
        #[test]
        fn a_set_holds_what_was_put_in(words in prop::collection::vec("[a-z]{1,8}", 0..600)) {
            let set = HashSet::new(&words.join(" "));
            for word in &words {
                prop_assert!(set.contains(hash_of(word)));
            }
            for other in ["copper9", "9", "a9"] {
                prop_assert!(!set.contains(hash_of(other)));
            }
        }

        /// What follows the opening, in whatever window it is read, changes nothing if no phrase stands in it.
        #[test]
        fn a_stance_is_read_from_the_opening(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "I cannot help with that. ", "As an AI, I have no opinion, but ", "It is important to share.\n\n",
                    "1. Copper. ", "é ’ 😀 ", "Yes, ", "I do not know. ", "There are many views. ",
                ]),
                0..8,
            ),
            more in 0_usize..3000,
        ) {
            static LEXICON: LazyLock<Lexicon> =
                LazyLock::new(|| Lexicon::parse(ENGLISH, false, true).expect("the shipped lexicon parses"));
            let opening = parts.concat() + &"copper ".repeat(OPENING);
            let whole = opening.clone() + &"copper ".repeat(more);
            let read = |text: &str| LEXICON.count(text, &mut Scratch::default()).reading;
            prop_assert_eq!(read(&whole), read(&opening));
        }
    }
}
