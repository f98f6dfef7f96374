use proptest::prelude::*;

use super::dates::dates;
use super::vocabulary::{Text, Vocabulary};
use super::words::{Gap, Words};
use super::*;

fn names(listed: &[&[&str]]) -> Vec<Vec<String>> {
    listed
        .iter()
        .map(|of_one| of_one.iter().map(ToString::to_string).collect())
        .collect()
}

fn folded(text: &str) -> Vec<String> {
    let known = Vocabulary::new();
    let mut read = Text::default();
    read.read(text, &known);
    (0..read.len())
        .map(|i| read.words.folded(i).to_owned())
        .collect()
}

fn read(reader: &Reader, question: &str, response: &str) -> (Verdict, Option<u32>) {
    let asked = reader.asked(question);
    let reading = reader.read(response, &asked, None, &mut Scratch::default());
    (reading.verdict, reading.object)
}

#[test]
fn words_that_people_read_alike_are_folded_alike() {
    for (one, other) in [
        ("José", "jose"),
        ("José", "Jose\u{301}"),
        ("Straße", "STRASSE"),
        ("Łódź", "lodz"),
        ("isn't", "isn’t"),
        ("Canberra’s", "canberra"),
        ("U.S.", "US"),
        ("J. R. R. Tolkien", "J.R.R. Tolkien"),
        ("1,450", "1450"),
        ("1\u{202f}450.0", "1450"),
        ("2nd", "second"),
        ("twenty-one", "21"),
        ("one hundred and five", "105"),
        ("1.5 million", "1.5 million"),
        ("2 million", "two million"),
        ("nineteen sixty-nine", "1969"),
        ("cities", "city"),
        ("St. Petersburg", "Saint Petersburg"),
        ("12 km", "12 kilometers"),
    ] {
        assert_eq!(folded(one), folded(other), "{one} {other}");
    }
    assert_ne!(folded("Paris"), folded("Pari"));
    assert_ne!(folded("bus"), folded("bu"));
}

#[test]
fn sentences_end_where_people_read_an_end() {
    for (text, ends) in [
        ("It is Rome. It is old.", 1),
        ("Dr. Smith and W. Shakespeare.", 0),
        ("Is it Rome? No! \"Yes.\" Well.", 3),
        ("3.5 metres, e.g. here", 1), // after "e.g.", which stands for few sentences
        ("One\n\nTwo\nThree", 1),
        ("Wait… what", 1),
    ] {
        let mut words = Words::default();
        words.read(text);
        let inner = words.list().iter().skip(1);
        assert_eq!(
            inner.filter(|word| word.gap == Gap::Sentence).count(),
            ends,
            "{text}"
        );
    }
}

#[test]
fn dates_are_the_same_in_any_order_and_contradict_where_they_differ() {
    let known = Vocabulary::new();
    let read = |text: &str| {
        let mut words = Text::default();
        words.read(text, &known);
        dates(&words)
    };
    let day = read("2 September 1945")[0];
    for same in [
        "September 2, 1945",
        "September 2nd, 1945",
        "the second of September, 1945",
        "1945-09-02",
        "02 Sept. 1945",
        "September 1945",
        "1945",
        "September 2",
    ] {
        let found = read(same);
        assert_eq!(found.len(), 1, "{same}");
        assert!(day.agreement(&found[0]) > 0, "{same}");
    }
    for other in [
        "3 September 1945",
        "2 September 1946",
        "2 October 1945",
        "1946",
    ] {
        assert_eq!(day.agreement(&read(other)[0]), 0, "{other}");
    }
    assert!(read("It may rain. 2 of them march.").is_empty());
}

#[test]
fn a_name_within_a_longer_name_is_no_mention() {
    let reader = Reader::new(
        &names(&[&["Guinea"], &["Guinea-Bissau"], &["Papua New Guinea"]]),
        &[],
    );
    for (response, object) in [
        ("Guinea", 0),
        ("Guinea Bissau", 1),
        ("It's Papua New Guinea.", 2),
    ] {
        assert_eq!(
            read(&reader, "", response),
            (Verdict::Asserts, Some(object))
        );
    }
}

#[test]
fn short_names_count_in_their_own_spelling_only() {
    let reader = Reader::new(&names(&[&["United States", "US"], &["He", "helium"]]), &[]);
    assert_eq!(
        read(&reader, "", "All of us said he did."),
        (Verdict::NamesNone, None)
    );
    assert_eq!(read(&reader, "", "The US"), (Verdict::Asserts, Some(0)));
    assert_eq!(read(&reader, "", "The U.S."), (Verdict::Asserts, Some(0)));
    assert_eq!(
        read(&reader, "", "Its symbol is He."),
        (Verdict::Asserts, Some(1))
    );
}

#[test]
fn what_is_said_of_another_subject_is_no_answer() {
    let reader = Reader::new(
        &names(&[&["Paris"], &["Canberra"]]),
        &names(&[&["Australia"], &["France"]]),
    );
    let asked = reader.asked("What is the capital of Australia?");
    let reading = |response| {
        reader
            .read(response, &asked, Some(0), &mut Scratch::default())
            .verdict
    };
    assert_eq!(
        reading("The capital of France is Paris."),
        Verdict::OfAnotherSubject
    );
    assert_eq!(
        reading("The capital of Australia is Canberra."),
        Verdict::Asserts
    );
}

#[test]
fn long_answers_of_one_kind_are_read_in_a_moment() {
    let reader = Reader::new(
        &names(&[
            &["Canberra", "21"],
            &["Sydney"],
            &["The Who", "not"],
            &["Springfield (Ohio)"],
            &["Springfield (Oregon)"],
        ]),
        &names(&[&["Australia"]]),
    );
    let asked = reader.asked("What is the capital of Australia?");
    for part in [
        "Canberra ",
        "Sydney and ",
        "twenty one ",
        "hundred ",
        "is not ",
        "the who ",
        "Australia ",
        "J.",
        "1,",
        "and ",
        ".",
        ".)",
        "Springfield, ",
        "hundred nine ",
    ] {
        let text = part.repeat(200_000);
        reader.read(&text, &asked, Some(0), &mut Scratch::default());
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_its_span_lies_in_it(
        parts in prop::collection::vec(
            prop_oneof![
                "\\PC{0,6}",
                prop::sample::select(vec![
                    "Canberra", "Sydney", " not ", ", but ", "n't ", "’", ".", "? ", "\n\n", "1,", "1945", " May ", " of ",
                    "U.S.", "J. ", "the second", " rather than ", " and ", " or ", "É", "\u{301}", "2 ", "million", "- ",
                ]).prop_map(String::from),
            ],
            0..24,
        )
    ) {
        let text = parts.concat();
        let reader = Reader::new(
            &names(&[&["Canberra"], &["Sydney", "1 May 1945"], &["É (U.S.)"], &["J. Smith", "not"]]),
            &names(&[&["May"], &[""]]),
        );
        let asked = reader.asked(&text);
        let reading = reader.read(&text, &asked, Some(0), &mut Scratch::default());
        prop_assert!(reading.start <= reading.end);
        prop_assert!(reading.end as usize <= text.chars().count());
        prop_assert_eq!(reading.verdict == Verdict::NamesNone, reading.object.is_none() && reading.rule.is_none());
    }

    #[test]
    fn a_name_alone_asserts_its_object_and_negated_does_not(
        chosen in 0_u32..3,
        before in prop::sample::select(vec!["", "It is ", "I think it's ", "The answer: ", "Probably "]),
    ) {
        let listed = [["Quito"], ["Bogotá"], ["Lima"]];
        let reader = Reader::new(&names(&listed.each_ref().map(<[&str; 1]>::as_slice)), &[]);
        let name = listed[chosen as usize][0];
        let said = format!("{before}{name}.");
        prop_assert_eq!(read(&reader, "", &said), (Verdict::Asserts, Some(chosen)));
        let denied = format!("It is not {name}.");
        prop_assert_eq!(read(&reader, "", &denied), (Verdict::Denies, Some(chosen)));
    }
}
