import os
import pickle
import re
import subprocess
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valueattr.hedging import KINDS, HedgeScanner, LexiconError

from .naive_scanner import scan, words

EVASIVE = {"both_sides", "deflection", "ai_disclaimer", "non_affirmation", "refusal"}
LEXICON = """
[[entry]]
kind = "epistemic"
pattern = "it {may|might} be"
guards = ["quotation"]
[[entry]]
kind = "epistemic"
pattern = "it may be [so|that way]"
guards = ["negation"]
[[entry]]
kind = "epistemic"
pattern = "may"
unless_before = ["in", "the"]
unless_after = ["#", "day"]
[[entry]]
kind = "epistemic"
pattern = "I <0-2> think"
guards = ["negation", "quotation"]
[[entry]]
kind = "non_affirmation"
pattern = "I don't know"
[[entry]]
kind = "non_affirmation"
pattern = "don't know who"
[[entry]]
kind = "caveat"
pattern = "be so"
guards = ["question"]
[[entry]]
kind = "caveat"
pattern = "it may"
guards = ["question", "negation"]
"""


@pytest.fixture(scope="module")
def scanner(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "own.toml"
    path.write_text(LEXICON, "utf-8")
    return HedgeScanner(path)


def compiled(scanner, text):
    rows = scanner.spans([text]).to_pylist()
    return sorted(
        ((r["kind"], r["entry"], r["start"], r["end"]) for r in rows), key=lambda s: (s[2], s[0], s[3])
    )


fragments = st.sampled_from(
    [
        "it",
        "may",
        "might",
        "be",
        "so",
        "that way",
        "I",
        "think",
        "really",
        "don't",
        "don’t",
        "know",
        "who",
        "not",
        "never",
        "can't",
        "in",
        "the",
        "day",
        "3",
        "3rd",
        '6"',
        "IT MAY BE",
        "Maybe",
        "”",
        "“",
        '"',
        ". ",
        "! ",
        "…",
        "?\n",
        "?",
        "?” ",
        "...",
        "a\u02bcb",
        "\u1680",
        "\n\n",
        "\n \n",
        ", ",
        " - ",
        "—",
        "'",
        "\u00a0",
        "\u2003",
        " ",
        " ",
        " ",
        "ß",
        "İ",
        "中",
        "🙂",
    ]
)
assigned = st.characters(blacklist_categories=("Cs", "Cn", "Co"))


@given(st.lists(fragments, max_size=25).map("".join) | st.lists(fragments, max_size=25).map(" ".join))
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equals_the_naive_scanner_on_adversarial_phrases(scanner, text):
    assert compiled(scanner, text) == scan(LEXICON, text)


@given(st.text(assigned, max_size=40), st.lists(fragments, max_size=6).map(" ".join))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equals_the_naive_scanner_on_any_unicode(scanner, noise, phrase):
    # Letters that Unicode assigned after this Python's tables may fold differently.
    assert all(unicodedata.category(c) != "Cn" for c in noise)
    text = f"{noise} {phrase} {noise}"
    assert compiled(scanner, text) == scan(LEXICON, text)
    counts = scanner.scan([text]).to_pylist()[0]
    naive = words(text)
    assert counts["words"] == len(naive)
    assert counts["sentences"] == (naive[-1][2] + 1 if naive else 0)


@given(st.lists(st.lists(fragments, max_size=12).map(" ".join), max_size=8))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_the_spans_counted(scanner, texts):
    counts, spans = scanner.scan(texts).to_pylist(), scanner.spans(texts).to_pylist()
    for i, row in enumerate(counts):
        own = [s for s in spans if s["document"] == i]
        for kind in KINDS:
            assert row[kind] == sum(s["kind"] == kind for s in own)
        assert row["first_hedge"] == min((s["start"] for s in own if s["kind"] != "booster"), default=None)
        sentence_at = {start: sentence for start, _, sentence, *_ in words(texts[i])}
        evaded = {sentence_at[s["start"]] for s in own if s["kind"] in EVASIVE}
        assert all(s["sentence"] == sentence_at[s["start"]] for s in own)
        assert row["hedge_only"] == (bool(evaded) and evaded == set(sentence_at.values()))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Perhaps it was the wind.", "epistemic"),
        ("This is a complex topic with many perspectives.", "both_sides"),
        ("Please consult a qualified professional.", "deflection"),
        ("As an AI language model, I do not have personal opinions.", "ai_disclaimer"),
        ("It’s important to note that results vary.", "caveat"),
        ("I’m not sure.", "non_affirmation"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("Without a doubt.", "booster"),
    ],
)
def test_the_shipped_lexicon_on_known_answers(text, kind):
    assert HedgeScanner().scan([text]).to_pylist()[0][kind] >= 1


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("This may cause problems.", ["may"]),
        ("It is cheap and might break.", ["might"]),
        ("In May it rained.", []),
        ("Their might was broken on May 3.", []),
        ("We talk about speaking.", []),
        ("A doctor who knows the area.", []),
        ("I suggest a walk.", []),
        ("Who knows?", ["Who knows"]),
        ("I must respectfully decline.", ["I must respectfully decline"]),
        ("It is also important to note that it leaks.", ["It is also important to note that"]),
    ],
)
def test_the_shipped_lexicon_finds_just_these_phrases(text, phrases):
    found = HedgeScanner().spans([text]).to_pylist()
    assert [text[span["start"] : span["end"]] for span in found] == phrases


def test_columns_and_types():
    batch = HedgeScanner().scan(["I cannot answer that.", ""])
    assert batch.schema.names == ["words", "sentences", *KINDS, "first_hedge", "hedge_only"]
    assert batch.schema.types == [pa.int32()] * 11 + [pa.bool_()]
    assert batch.to_pylist()[0]["hedge_only"] is True
    assert batch.to_pylist()[1] == {
        **dict.fromkeys(batch.schema.names, 0),
        "first_hedge": None,
        "hedge_only": False,
    }


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_arrow_arrays_give_the_same_as_lists(kind):
    texts = ["Perhaps — 中.", "", "I don't know", "As an AI, no."] * 3
    scanner = HedgeScanner()
    array = pa.array(texts).cast(kind)
    assert scanner.scan(array).equals(scanner.scan(texts))
    assert scanner.spans(pa.chunked_array([array[:5], array[5:]])).equals(scanner.spans(texts))
    assert scanner.scan(array.slice(2, 4)).equals(scanner.scan(texts[2:6]))
    assert scanner.scan(pa.array([], pa.string())).num_rows == 0


class Foreign:
    """Another library's column, which speaks only the protocol of streams."""

    def __init__(self, *chunks):
        self.column = pa.chunked_array(chunks)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.column.__arrow_c_stream__(requested_schema)


def test_an_arrow_stream_gives_the_same_as_a_list():
    scanner = HedgeScanner()
    assert scanner.spans(Foreign(["Perhaps."], ["", "No, perhaps."])).equals(
        scanner.spans(["Perhaps.", "", "No, perhaps."])
    )


@pytest.mark.parametrize("threads", [2, 3, None])
def test_threads_do_not_change_the_result(threads):
    texts = [f"{i}: perhaps, or I don't know. " * (i % 50) for i in range(3_000)]
    assert HedgeScanner(threads=threads).scan(texts).equals(HedgeScanner(threads=1).scan(texts))


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["a", None], TypeError, "text 1 is"),
        (["a", b"b"], TypeError, "text 1 is"),
        (["\ud800"], ValueError, "text 0 holds a lone surrogate"),
        (pa.array(["a", None]), TypeError, "text 1 is null"),
        (Foreign(["a"], ["b", None]), TypeError, "text 2 is null"),
        ("perhaps", TypeError, "put it in a list"),
        (pa.array([1]), TypeError, "expected an Arrow array of strings, found int64"),
    ],
)
def test_what_is_no_text_is_named(texts, error, message):
    with pytest.raises(error, match=message):
        HedgeScanner().scan(texts)
    with pytest.raises(error, match=message):
        HedgeScanner().spans(texts)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b'[[entry]]\nkind = "epistemic"\npattern = "{a"\n', r"own\.toml: line 3: .* never closes"),
        (b'[[entry]]\nkind = "epistemic"\npattern = "\xff"\n', r"own\.toml: line 3: .* byte 0xff"),
        (b"", r"own\.toml: line 1: missing field `entry`"),
    ],
)
def test_a_broken_lexicon_names_its_file_and_line(tmp_path, source, message):
    (tmp_path / "own.toml").write_bytes(source)
    with pytest.raises(LexiconError, match=message):
        HedgeScanner(tmp_path / "own.toml")


@pytest.mark.parametrize("threads", [0, -1])
def test_too_few_threads_are_refused(threads):
    with pytest.raises(ValueError, match="expected at least 1"):
        HedgeScanner(threads=threads)


@pytest.mark.parametrize("threads", [20_000, 10**20])
def test_more_threads_than_cores_are_not_started(threads):
    texts = [f"{i}: perhaps. " * 100 for i in range(1_000)]
    before = len(os.listdir("/proc/self/task"))
    assert HedgeScanner(threads=threads).scan(texts).equals(HedgeScanner().scan(texts))
    assert len(os.listdir("/proc/self/task")) - before < 1_000


def test_a_scanner_can_be_pickled_and_needs_its_lexicon_no_more(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("\ufeff" + LEXICON, "utf-8")
    scanner = HedgeScanner(path, threads=1, modal=True)
    path.unlink()
    other = pickle.loads(pickle.dumps(scanner))
    assert other.entries == scanner.entries
    assert other.scan(["I may think so."]).equals(scanner.scan(["I may think so."]))
    assert pickle.dumps(other) == pickle.dumps(scanner)


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_a_lexicon_that_is_no_file_is_refused(path):
    with pytest.raises(LexiconError, match="expected a file of TOML"):
        HedgeScanner(path)


def test_a_lexicon_nested_deeper_than_the_stack_is_an_error_with_a_line(tmp_path):
    (tmp_path / "own.toml").write_text("entry = " + "[" * 80_000)
    with pytest.raises(LexiconError, match="line 1: "):
        HedgeScanner(tmp_path / "own.toml")


def error_of(path):
    try:
        HedgeScanner(path)
    except LexiconError as error:
        return str(error)
    return None


def test_a_lexicon_cut_short_anywhere_is_a_lexicon_or_an_error_with_a_line(tmp_path):
    for cut in range(0, len(LEXICON), 3):
        (tmp_path / "own.toml").write_text(LEXICON[:cut])
        error = error_of(tmp_path / "own.toml")
        assert error is None or re.search(r"own\.toml: line \d+: ", error)


def test_importing_imports_no_torch():
    code = "import sys, valueattr.hedging as h; h.HedgeScanner().scan(['perhaps']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_many_entries_that_begin_alike(tmp_path):
    """Words that agree in the bytes that are hashed first, a hundred thousand of them."""
    path = tmp_path / "many.toml"
    words_ = [f"possibilities{i}" for i in range(100_000)]
    entry = '[[entry]]\nkind = "caveat"\npattern = "{} {}"\n'
    path.write_text("".join(entry.format(*pair) for pair in zip(words_, reversed(words_), strict=True)))
    scanner = HedgeScanner(path)
    assert scanner.entries[-1].line == 300_000
    text = "possibilities7 possibilities99992, possibilities7 possibilities8"
    assert scanner.scan([text]).to_pylist()[0]["caveat"] == 1


def test_patterns_that_could_be_tried_in_very_many_ways(tmp_path):
    path = tmp_path / "gaps.toml"
    path.write_text('[[entry]]\nkind = "caveat"\npattern = "a <0-8> a <0-8> a <0-8> b"\n')
    scanner = HedgeScanner(path)
    assert scanner.scan(["a " * 20_000]).to_pylist()[0]["caveat"] == 0
    assert scanner.scan(["a " * 20_000 + "b"]).to_pylist()[0]["caveat"] == 1
