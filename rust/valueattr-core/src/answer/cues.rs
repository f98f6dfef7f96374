//! The words that say how an answer stands to what it names.

/// Classes of a word, as bits.
pub type Cue = u32;

/// Carries no meaning of its own: `the`, `of`.
pub const STOP: Cue = 1;
pub const NEGATION: Cue = 1 << 1;
pub const BE: Cue = 1 << 2;
/// Begins a clause: `but`, `while`.
pub const TURN: Cue = 1 << 3;
pub const OR: Cue = 1 << 4;
pub const AND: Cue = 1 << 5;
/// After a negation it takes it back: `not only`, `no doubt`, `not until`.
pub const ONLY: Cue = 1 << 6;
/// Takes back what came before: `actually`, `correction`.
pub const CORRECTION: Cue = 1 << 7;
/// Others who say so: `many`, `people`, `commonly`.
pub const OTHERS: Cue = 1 << 8;
pub const BELIEVE: Cue = 1 << 9;
pub const WRONG: Cue = 1 << 10;
/// Of another time: `formerly`, `until`.
pub const FORMER: Cue = 1 << 11;
/// What follows is named beside the answer: `near`, `than`, `between`.
pub const BESIDE: Cue = 1 << 12;
/// What follows is not meant: `unlike`, `instead of`, `rather than`.
pub const CONTRAST: Cue = 1 << 13;
/// Announces the answer: `answer`, `called`, `named`.
pub const ANSWER: Cue = 1 << 14;
pub const ARTICLE: Cue = 1 << 15;
pub const CURRENT: Cue = 1 << 16;
pub const MONTH: Cue = 1 << 17;
/// Between a preposition and what it is about: `being`, `of`, `to`.
pub const LINK: Cue = 1 << 18;
/// Leaves open which of several: `perhaps`, `options`.
pub const OPTION: Cue = 1 << 19;
/// Begins a clause about what stands before it: `which`, `where`.
pub const RELATIVE: Cue = 1 << 20;

/// Words by their class; a word may stand in several.
pub const CUES: &[(Cue, &str)] = &[
    (STOP | ARTICLE, "a an the"),
    (STOP | LINK, "of to for from with being by as"),
    (
        STOP,
        "in on at that this it its his her their which who he she they more about into during up c ca circa i you we my your our",
    ),
    (STOP | AND, "and"),
    (STOP | OR, "or nor"),
    (
        STOP | BE,
        "is was are were be been am would will did do does has have had can could should must",
    ),
    (STOP | BESIDE, "than between near"),
    (
        BESIDE,
        "nearby beside besides like including via toward towards outside past around against neighbouring neighboring beyond bigger larger smaller",
    ),
    (
        NEGATION,
        "not never no none neither cannot cant wont dont doesnt didnt couldnt shouldnt havent hasnt hadnt nothing nobody",
    ),
    (NEGATION | BE, "isnt wasnt arent werent aint wouldnt"),
    (NEGATION, "nor"),
    (
        TURN,
        "but while whereas although though however yet because since so whilst nevertheless",
    ),
    (
        ONLY,
        "only just merely simply solely doubt question denying until till other mistake mistaking",
    ),
    (
        CORRECTION,
        "actually correction sorry wait oops rather apologies apology mean meant mistake excuse instead fact scratch reflection truth",
    ),
    (
        OTHERS,
        "many most some people others someone everyone everybody folk tourist visitor student commonly often popularly popular widely frequently sometimes one several few common reader outsider they foreigner usually generally you we scholar historian",
    ),
    (
        BELIEVE,
        "think thought thinking believe believed belief assume assumed assumption guess guessed say said claim claimed suppose supposed expect expected confuse confused mistake mistaken name call consider considered imagine suggest argue answer pick picture wrongly propose proposed learn learned learnt taught credit credited attribute attributed put cite cited tempt tempted",
    ),
    (
        WRONG,
        "wrong incorrect false untrue mistaken myth misconception mistakenly wrongly erroneously incorrectly inaccurate error erroneous falsely contrary misbelief fallacy",
    ),
    (
        FORMER,
        "formerly former previously originally initially once used until till before first earlier historically temporary interim",
    ),
    (
        CURRENT,
        "today now currently current nowadays present since",
    ),
    (
        CONTRAST,
        "unlike instead rather opposed excluding except barring",
    ),
    (
        OPTION,
        "option choice candidate possible possibly perhaps maybe either among argument might may could alternative whether",
    ),
    (RELATIVE, "which who whose whom where when"),
    (
        ANSWER,
        "answer choice choose final verdict called named known correct right correctly hence therefore thus namely specifically confirm",
    ),
    (
        MONTH,
        "january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec",
    ),
];

/// Number words and what they stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Unit(u64),
    Ten(u64),
    /// Multiplies what stands before it.
    Scale(u64),
}

const UNITS: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
sixteen seventeen eighteen nineteen";
const ORDINALS: &str = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth \
thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth";
const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";
const TENTHS: &str =
    "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth";
const OTHERS_OF_NUMBERS: [(&str, Number); 6] = [
    ("ii", Number::Unit(2)),
    ("iii", Number::Unit(3)),
    ("hundred", Number::Scale(100)),
    ("thousand", Number::Scale(1_000)),
    ("million", Number::Scale(1_000_000)),
    ("billion", Number::Scale(1_000_000_000)),
];

/// Every number word, and what it stands for.
pub fn numbers() -> impl Iterator<Item = (&'static str, Number)> {
    let units = [UNITS, ORDINALS].into_iter();
    let tens = [TENS, TENTHS].into_iter();
    let units = units.flat_map(|words| words.split(' ').zip((0..).map(Number::Unit)));
    let tens = tens.flat_map(|words| words.split(' ').zip((2..).map(|n| Number::Ten(10 * n))));
    units.chain(tens).chain(OTHERS_OF_NUMBERS)
}

/// What two forms of one verb or noun share: *end* and *ended*.
pub fn root(word: &str) -> &str {
    let cut = |ending: &str| word.strip_suffix(ending).filter(|root| root.len() >= 3);
    cut("ing")
        .or_else(|| cut("ed"))
        .or_else(|| cut("e"))
        .unwrap_or(word)
}

/// The month that a word names, from 1.
pub fn month(word: &str) -> Option<u8> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let start = word.get(..3)?;
    MONTHS
        .iter()
        .position(|&m| m == start)
        .and_then(|i| u8::try_from(i + 1).ok())
}

/// Units that are written short behind a number.
pub fn unit(word: &str) -> Option<&'static str> {
    Some(match word {
        "m" | "meter" => "metre",
        "km" | "kilometer" => "kilometre",
        "cm" | "centimeter" => "centimetre",
        "mm" | "millimeter" => "millimetre",
        "kg" => "kilogram",
        "g" => "gram",
        "ft" | "feet" => "foot",
        "mi" => "mile",
        "lb" => "pound",
        "inch" | "inche" => "inch",
        "min" => "minute",
        "hr" => "hour",
        "sec" => "second",
        _ => return None,
    })
}
