use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Parsed once: it takes longer than most tests that use it.
fn english() -> &'static Lexicon {
    static PARSED: LazyLock<Lexicon> =
        LazyLock::new(|| Lexicon::parse(ENGLISH, true, true).expect("the shipped lexicon parses"));
    &PARSED
}

fn lexicon(entries: &str) -> Lexicon {
    Lexicon::parse(entries, true, true).expect("a valid lexicon")
}

fn found(lexicon: &Lexicon, text: &str) -> Vec<String> {
    lexicon
        .spans(text, &mut Scratch::default())
        .iter()
        .map(|span| {
            text.chars()
                .skip(span.start as usize)
                .take((span.end - span.start) as usize)
                .collect()
        })
        .collect()
}

#[test]
fn every_entry_of_the_shipped_lexicon_counts_in_its_own_example() {
    english();
    for entry in ENGLISH.split("[[entry]]").skip(1) {
        let example = entry
            .lines()
            .find_map(|line| line.strip_prefix("example = \""));
        let example = example
            .expect(entry)
            .trim_end_matches('"')
            .replace("\\\"", "\"");
        let alone = lexicon(&format!("[[entry]]{entry}"));
        assert!(!found(&alone, &example).is_empty(), "{entry}");
    }
}

#[test]
fn longest_match_counts_once_and_kinds_do_not_see_each_other() {
    let lexicon = lexicon(
        r#"
        [[entry]]
        kind = "epistemic"
        pattern = "it may be"
        [[entry]]
        kind = "epistemic"
        pattern = "it may be that"
        [[entry]]
        kind = "caveat"
        pattern = "may"
        "#,
    );
    assert_eq!(
        found(&lexicon, "So it may be that; it may be."),
        ["it may be that", "may", "it may be", "may"]
    );
}

#[test]
fn a_longer_unbounded_match_hides_nothing() {
    let lexicon = lexicon("[[entry]]\nkind = \"epistemic\"\npattern = \"it may\"\n");
    assert!(found(&lexicon, "it maybe").is_empty());
    assert_eq!(found(&lexicon, "it may be"), ["it may"]);
}

#[test]
fn guards() {
    let lexicon = english();
    for silent in [
        "The fair is in May.",
        "May 3 was cold.",
        "The might of Rome.",
        "I do not think so.",
        "He wrote \"perhaps\".",
    ] {
        assert!(
            found(lexicon, silent).is_empty(),
            "{silent}: {:?}",
            found(lexicon, silent)
        );
    }
    for (text, phrase) in [
        ("May I think?", "May"),
        ("I think so.", "I think"),
        ("He said \"no\"; perhaps.", "perhaps"),
    ] {
        assert!(
            found(lexicon, text).contains(&phrase.to_owned()),
            "{text}: {:?}",
            found(lexicon, text)
        );
    }
}

#[test]
fn only_a_closed_quotation_quotes() {
    let lexicon = english();
    for text in [
        "A 6\" pipe, perhaps.",
        "A 6\" pipe. \"No.\" Perhaps.",
        "He said: \"Perhaps",
        "\"A\n\nB\" perhaps",
    ] {
        assert_eq!(found(lexicon, text).len(), 1, "{text}");
    }
    for text in [
        "\"A 6 inch pipe, perhaps.\"",
        "\u{201c}Perhaps\u{201d}",
        "Was it (\"perhaps\")?",
    ] {
        assert!(found(lexicon, text).is_empty(), "{text}");
    }
}

#[test]
fn typography_is_folded_and_offsets_are_of_the_original() {
    let lexicon = english();
    assert_eq!(
        found(lexicon, "Ünïcode — I don\u{2019}t\u{a0}know."),
        ["I don\u{2019}t\u{a0}know"]
    );
    assert_eq!(
        found(lexicon, "I\u{2003}DO  not\nknow"),
        ["I\u{2003}DO  not\nknow"]
    );
    assert!(found(lexicon, "I do not. Know").is_empty());
}

#[test]
fn sentences_and_hedge_only() {
    let lexicon = english();
    let counts = |text| lexicon.count(text, &mut Scratch::default());
    assert_eq!(
        counts("One. Two! \"Three?\" 3.5 four… five\n\nsix").sentences,
        6
    );
    assert_eq!(counts("").sentences, 0);
    assert!(counts("I cannot answer that.").hedge_only);
    assert!(!counts("I cannot answer that. It is copper.").hedge_only);
    assert!(!counts("Perhaps it is copper.").hedge_only);
    assert!(!counts("").hedge_only);
    assert_eq!(counts("Certainly, perhaps.").first_hedge, Some(11));
}

#[test]
fn broken_lexicons_name_the_line() {
    for (source, line, message) in [
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \"{a|b\"\n",
            3,
            "never closes",
        ),
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \"a } b\"\n",
            3,
            "without opening",
        ),
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \"a <3> b\"\n",
            3,
            "<least-most>",
        ),
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \"a <0-9> b\"\n",
            3,
            "<least-most>",
        ),
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \"<0-1> b\"\n",
            3,
            "begin and end with a word",
        ),
        (
            "[[entry]]\nkind = \"epistemic\"\npattern = \" \"\n",
            3,
            "begin and end with a word",
        ),
        (
            "\n[[entry]]\nkind = \"vague\"\npattern = \"a\"\n",
            3,
            "unknown variant",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"a\"\nguards = [\"luck\"]\n",
            4,
            "unknown guard",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"a\"\nstrength = 2.0\n",
            4,
            "not in 0 to 1",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"a\"\ncolour = \"red\"\n",
            4,
            "unknown field",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"{a [b]|c} d\"\n",
            3,
            "runs through the '['",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"I'm sorry. But\"\n",
            3,
            "runs through the '.'",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"a goin' b\"\n",
            3,
            "runs through the '\\''",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"{suggest}s it\"\n",
            3,
            "part of a word",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"re{a|b}\"\n",
            3,
            "part of a word",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"{a|} b\"\n",
            3,
            "empty alternative",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"[] b\"\n",
            3,
            "empty alternative",
        ),
        (
            "[[entry]]\nkind = \"caveat\"\npattern = \"a\"\nunless_before = [\"b\",\n\"in the\"]\n",
            5,
            "not one word",
        ),
        ("[[entry]]\nkind = \"caveat\"\n", 1, "missing field"),
        ("nonsense\n", 1, ""),
    ] {
        let error = Lexicon::parse(source, true, true).expect_err(source);
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn too_many_wordings_are_refused() {
    let pattern = "{a|b|c|d|e|f|g|h}".repeat(5);
    let source = format!("[[entry]]\nkind = \"caveat\"\npattern = \"{pattern}\"\n");
    assert!(
        Lexicon::parse(&source, true, true)
            .expect_err("too many")
            .message
            .contains("wordings")
    );
}

proptest! {
    #[test]
    fn any_text_is_scanned_without_panic_and_spans_are_bounded(text in "\\PC*|[a-z' .\"\\n-]*(I don't know|perhaps|it may be)[a-z' .\"\\n-]*") {
        let lexicon = english();
        let length = u32::try_from(text.chars().count()).expect("short");
        for span in lexicon.spans(&text, &mut Scratch::default()) {
            prop_assert!(span.start < span.end && span.end <= length);
        }
    }

    #[test]
    fn any_bytes_as_a_lexicon_are_an_error_or_a_lexicon(source in "\\PC*|(\\[\\[entry\\]\\]|kind = \"caveat\"|pattern = \"[a{}|\\[\\]<>0-9 -]*\"|\\n)*") {
        let _ = Lexicon::parse(&source, true, true);
    }

    #[test]
    fn threads_do_not_change_the_result(texts in prop::collection::vec("([a-z]{1,6} |perhaps |I don't know\\. |it may be ){0,40}", 1..40)) {
        let lexicon = english();
        let long: Vec<String> = texts.iter().map(|text| text.repeat(60)).collect();
        let texts: Vec<&str> = long.iter().map(String::as_str).collect();
        let one = counts(lexicon, &texts, 1).expect("threads");
        for threads in [2, 3] {
            prop_assert_eq!(&one, &counts(lexicon, &texts, threads).expect("threads"));
        }
    }
}

const ADVERSARIAL: &str = r##"
[[entry]]
kind = "epistemic"
pattern = "it may"
guards = ["negation"]
[[entry]]
kind = "epistemic"
pattern = "it may be that [it] is"
guards = ["question"]
[[entry]]
kind = "epistemic"
pattern = "may"
unless_before = ["in", "don't"]
unless_after = ["#", "possibilities"]
[[entry]]
kind = "epistemic"
pattern = "may <0-2> be"
guards = ["quotation"]
[[entry]]
kind = "caveat"
pattern = "be that"
guards = ["question", "quotation"]
[[entry]]
kind = "caveat"
pattern = "i don't know"
[[entry]]
kind = "booster"
pattern = "possibilities"
[[entry]]
kind = "booster"
pattern = "it is not possibilities in éa"
[[entry]]
kind = "modal"
pattern = "is <0-3> is"
"##;

fn adversarial_guards() -> Vec<reference::Guarded> {
    let some = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut guards: Vec<reference::Guarded> =
        (0..9).map(|_| reference::Guarded::default()).collect();
    guards[0].negation = true;
    guards[1].question = true;
    guards[2].before = some(&["in", "don't"]);
    guards[2].after = some(&["#", "possibilities"]);
    guards[3].quotation = true;
    guards[4].question = true;
    guards[4].quotation = true;
    guards
}

/// More than other tests have, unless the environment asks for a number (long runs do).
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

/// Texts of the words and marks that matter, and of any others.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "it", "may", "be", "that", "is", "in", "I", "DON'T", "don\u{2019}t", "know", "not", "3", "possibilities",
            "\u{e9}a", "\u{c9}A", "isn\u{2bc}t", "possibilitie", "b\u{e9}", "\u{4f60}\u{597d}", "\u{43c}\u{430}\u{439}",
        ]),
        8 => Just(" "),
        4 => prop::sample::select(vec![
            ".", "?", "!", "\u{2026}", ",", "-", "\u{2014}", "'", "\u{2019}", "\"", "\u{201c}", "\u{201d}", ")", "*", "_",
            "\n", "\n\n", "\n \n", "\r\n\r\n", "  ", "\u{a0}", "\u{3000}", "\u{feff}", "\u{1680}", "\0", "\u{1f600}", "\u{d7}",
            ". ", "? ", "?\u{201d} ", "...", "\u{3002}", ";", "\u{180e}", "\u{ff07}", "\u{2028}",
        ]),
        1 => any::<char>().prop_map(|c| &*Box::leak(c.to_string().into_boxed_str())),
        1 => (1usize..80).prop_map(|n| &*Box::leak("x".repeat(n).into_boxed_str())),
        1 => (1usize..80).prop_map(|n| &*Box::leak(" ".repeat(n).into_boxed_str())),
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn scanning_equals_the_plain_reference(text in any_text(), repeats in 1usize..4, far in 0usize..3) {
        let lexicon = lexicon(ADVERSARIAL);
        // Some texts are longer than a window.
        let text = [text.clone(), "a. ".repeat(4_000 * (far / 2)), text].concat().repeat(repeats);
        let words = reference::words(&text);
        let expected = reference::spans(&lexicon, &adversarial_guards(), &text);
        let mut scratch = Scratch::default();
        for kernels in 0..3 {
            simd::LIMIT.set(kernels);
            let spans = lexicon.spans(&text, &mut scratch);
            prop_assert_eq!(&spans, &expected, "kernels {}", kernels);
            let counts = lexicon.count(&text, &mut scratch);
            prop_assert_eq!(counts.words as usize, words.len());
            prop_assert_eq!(counts.sentences, words.last().map_or(0, |word| word.sentence + 1));
            for kind in Kind::ALL {
                let of_kind = spans.iter().filter(|span| span.kind == kind);
                prop_assert_eq!(counts.kinds[kind as usize] as usize, of_kind.count());
            }
            let hedges = spans.iter().filter(|span| span.kind.is_hedge());
            prop_assert_eq!(counts.first_hedge, hedges.map(|span| span.start).min());
        }
    }

    #[test]
    fn words_are_found_as_one_by_one(text in any_text()) {
        let found: Vec<(usize, usize)> = words::words(&text).iter().map(|w| (w.start, w.end)).collect();
        let expected: Vec<(usize, usize)> = reference::words(&text).iter().map(|w| (w.start, w.end)).collect();
        prop_assert_eq!(found, expected);
    }
}
