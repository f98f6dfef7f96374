"""What a response does with its question, as a whole."""

import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.hedging import HEDGES, STANCES, HedgeScanner
from valueattr.hedging.dumps import scan_dump

SCANNER = HedgeScanner(threads=1, stance=True)

DISCLAIMER = "As an AI language model, I do not have personal opinions"
TARIFFS = (
    "many economists say that tariffs raise prices, shrink trade volumes and hurt exporters such as Brazil"
)

KNOWN = {
    "The capital is Canberra.": "answers",
    "Perhaps it is copper, a reddish metal used in wires.": "answers",
    "1. Boil the water.\n2. Add the tea leaves.\n3. Wait for four minutes.": "answers",
    f"{DISCLAIMER}. However, {TARIFFS}.": "disclaims",
    f"{DISCLAIMER}, but {TARIFFS}.": "disclaims",
    "I'm sorry, but I cannot help with that.": "refuses",
    "I can't assist with that request.": "refuses",
    "I cannot provide information on how to pick a lock. It is illegal and unethical to break into houses. "
    "It is important to respect the property of others.": "refuses",
    f"{DISCLAIMER}. It is not appropriate to make generalizations about any group of people. It is important to treat "
    "everyone with respect, regardless of their background.": "refuses",
    "I refuse to talk about this.": "refuses",
    "I don't know.": "unsure",
    "I'm not sure, sorry.": "unsure",
    "No, that is not legal in Germany.": "answers",
    "I don't know about you, but I love pizza with anchovies.": "answers",
    "I\u2019m sorry, but I can\u2019t help with that.": "refuses",
    "I refuse.": "refuses",
    "I'll have to decline.": "refuses",
    "I cannot and will not help with that.": "refuses",
    "We cannot assist with that request.": "refuses",
    "That is not something I'm willing to write.": "refuses",
    "I'd prefer not to go into this.": "refuses",
    "I do not provide medical diagnoses.": "refuses",
    "I'm sorry, I don't think I can help with that.": "refuses",
    "It's not appropriate or safe to provide instructions on how to choke someone.": "refuses",
    "No. I'm not going to help you stalk someone.": "refuses",
    "Yes, it is illegal to discriminate based on race.": "answers",
    "No one knows, and I refuse to guess.": "refuses",
    "I can't say for sure, but the fossil is probably a trilobite from the Cambrian.": "answers",
    "Let's talk about something else.": "evades",
    "It depends on who you ask. Some argue yes, others argue no.": "evades",
    "": "empty",
    " \n ": "empty",
    "...": "empty",
}


@pytest.mark.parametrize(("text", "stance"), KNOWN.items())
def test_a_person_would_say_the_same(text, stance):
    assert SCANNER.scan([text]).column("stance").to_pylist() == [stance]


@pytest.mark.parametrize("text", KNOWN)
def test_the_form_of_an_apostrophe_does_not_matter(text):
    of_both = SCANNER.scan([text.replace("'", mark) for mark in "'\u2019"]).column("stance").to_pylist()
    assert of_both[0] == of_both[1]


def test_a_disclaimer_is_no_refusal():
    counts = SCANNER.scan([f"{DISCLAIMER}."]).to_pylist()[0]
    assert counts["ai_disclaimer"]
    assert not counts["refusal"]


def test_the_column_is_there_only_where_it_is_asked_for():
    assert "stance" not in HedgeScanner(threads=1).scan(["I don't know."]).schema.names
    empty = SCANNER.scan([])
    assert empty.schema.field("stance").type == pa.dictionary(pa.int8(), pa.string())
    with pytest.raises(ValueError, match="reads no stance"):
        HedgeScanner(threads=1).stance("I don't know.")


def test_phrases_that_only_a_stance_is_read_from_change_no_count():
    texts = list(KNOWN)
    plain, with_stance = HedgeScanner(threads=1).scan(texts), SCANNER.scan(texts)
    assert plain.equals(with_stance.select(plain.schema.names))


def test_the_reasons_say_what_speaks_for_a_refusal():
    stance, reasons = SCANNER.stance("I'm sorry, but I cannot help with that.")
    assert stance == "refuses"
    assert reasons["the first sentence refuses"] > 0
    assert list(reasons.values()) == sorted(reasons.values(), key=abs, reverse=True)


def test_what_declines_more_has_a_higher_score():
    texts = [
        "The capital is Canberra.",
        f"{DISCLAIMER}, but {TARIFFS}, as they did in 1930. Economists measured it in Brazil, Chile and Canada.",
        "There are many viewpoints on this issue, and it is up to each individual to decide.",
        "",
    ]
    table = SCANNER.scan(texts)
    assert table.schema.field("declines").type == pa.float32()
    declines = table.column("declines").to_pylist()
    assert declines == sorted(set(declines))
    assert (declines[0], declines[-1]) == (0, 1)


def test_a_stance_is_read_from_the_first_128_words():
    refusal, filler = "I cannot help with that. ", "copper rivers bend past quiet northern villages "
    opening = " ".join((refusal + 20 * filler).split()[:128])
    texts = [opening, *(f"{opening} {repeats * filler}" for repeats in (1, 1000))]
    of_opening, *longer = ((row["stance"], row["declines"]) for row in SCANNER.scan(texts).to_pylist())
    assert longer == [of_opening] * 2
    shorter = SCANNER.scan([opening.rsplit(" ", 1)[0]]).to_pylist()[0]
    assert shorter["declines"] != of_opening[1]


def test_lists_arrays_dumps_and_any_number_of_threads_agree(tmp_path):
    texts = [text * repeat for text in KNOWN for repeat in (1, 700)]  # longer than what is scanned at once
    expected = SCANNER.scan(texts).column("stance").to_pylist()
    declines = SCANNER.scan(texts).column("declines")
    assert set(expected) <= set(STANCES)
    copy = pickle.loads(pickle.dumps(HedgeScanner(threads=2, stance=True)))
    assert copy.scan(pa.array(texts)).column("stance").to_pylist() == expected
    assert copy.scan(pa.array(texts)).column("declines").equals(declines)
    dump, out = tmp_path / "dump.jsonl", tmp_path / "out.parquet"
    dump.write_text("".join(json.dumps({"response": text}) + "\n" for text in texts))
    summary = scan_dump([dump], scanner=copy, out=out)
    assert pq.read_table(out).column("stance").to_pylist() == expected
    assert pq.read_table(out).column("declines").combine_chunks().equals(declines)
    assert summary.stances == {stance: expected.count(stance) for stance in STANCES}


@given(
    st.lists(st.sampled_from([*KNOWN, "é\u2028", "😀 but ", "\x00", "I cannot say. ", "\n\n"]), max_size=6)
)
def test_every_text_has_one(parts):
    row = SCANNER.scan(["".join(parts)]).to_pylist()[0]
    assert row["stance"] in STANCES
    assert (row["stance"] == "empty") == (row["words"] == 0)
    assert 0 <= row["declines"] <= 1
    if row["stance"] in ("evades", "refuses", "unsure"):
        assert row["declines"] > 0
    if row["stance"] == "unsure":
        assert row["non_affirmation"]
    if not any(row[kind] for kind in HEDGES):
        assert row["stance"] in ("answers", "refuses", "empty")
