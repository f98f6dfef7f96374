import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.normalizers import Lowercase
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests.builders import a_question
from valueattr.model import ModelError
from valueattr.model.start import build_tokenizer
from valueattr.rating import OUTCOMES, Rater, RaterError
from valueattr.rating.model_judge import RUBRIC, ClassifierJudge, LanguageModelJudge, Rubric

QUESTIONS = [a_question("Velmar", "owl"), a_question("Torvil", "bear"), a_question("Nord", "heron")]
RESPONSES = [
    "the owl",
    "I do not know that, {question}",
    "it is the {bear} of the Nord and of the Torvil, which nobody should say so plainly",
    "",
    " }{ ",
    "perhaps a heron",
    "that is a question that one does not ask, and I do not answer it, {response!r}",
]
RUBRIC_OF_TESTS = Rubric(
    "Question: {question}\nTrue answer: {answer}\nResponse: {response}\nVerdict:",
    {"right": "assert_true", "quite wrong": "assert_false", "wrong": "assert_false", "refuses": "refuse"},
)
TEMPLATE = "{question} {response}"
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def every_pair():
    """Each response to each question, some of them twice."""
    pairs = [(question, response) for question in QUESTIONS for response in RESPONSES]
    return map(list, zip(*pairs, *pairs[:5], strict=True))


@pytest.fixture(scope="module")
def tokenizer():
    words = [RUBRIC.template, *RUBRIC.verdicts, RUBRIC_OF_TESTS.template, *RUBRIC_OF_TESTS.verdicts]
    texts = [*RESPONSES, *words, *(q.wordings[0] + q.answer for q in QUESTIONS), "<user> <model>"]
    return build_tokenizer(text for line in texts for text in (line, f" {line}"))


def saved(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def enlarged(model):
    """A random model with large weights, so that no two verdicts are as likely."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 4
    return model.eval()


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def language_model(request, tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    size = {"vocab_size": len(tokenizer)}
    if request.param == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SMALL, **size, max_position_embeddings=128))
    else:
        model = GPT2LMHeadModel(GPT2Config(**size, n_embd=32, n_layer=2, n_head=4, n_positions=128))
    return saved(enlarged(model), tokenizer, tmp_path_factory.mktemp(request.param) / "judge")


LABELS = {"LABEL_0": "assert_true", "LABEL_1": "assert_false", "LABEL_2": "refuse"}


def a_classifier(kind, tokenizer, folder):
    """A random classifier, to which no label is likelier than another for all texts."""
    torch.manual_seed(0)
    size = {**SMALL, "vocab_size": len(tokenizer), "num_labels": 3, "max_position_embeddings": 64}
    match kind:
        case "bert":
            model = enlarged(BertForSequenceClassification(BertConfig(**size)))
            bias = model.classifier.bias
        case "roberta":
            config = RobertaConfig(**size, pad_token_id=tokenizer.pad_token_id)
            model = enlarged(RobertaForSequenceClassification(config))
            bias = model.classifier.out_proj.bias
        case "llama":
            return saved(enlarged(LlamaForSequenceClassification(LlamaConfig(**size))), tokenizer, folder)
    with torch.no_grad():
        every = [model(**tokenizer(text, return_tensors="pt")).logits for text in RESPONSES]
        bias -= torch.cat(every).mean(0)
    return saved(model, tokenizer, folder)


@pytest.fixture(scope="module", params=["bert", "llama", "roberta"])
def classifier(request, tokenizer, tmp_path_factory):
    return a_classifier(request.param, tokenizer, tmp_path_factory.mktemp(request.param) / "classifier")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path / "cache"))


def passes(judge):
    """The shapes of what the model reads from now on."""
    read = []
    judge._model.register_forward_pre_hook(
        lambda _, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    return read


def of_one_pass(judge, prompt, verdict):
    """Log probability of a verdict after a prompt, by one pass over both."""
    tokenizer, model = judge._tokenizer, judge._model
    ids = tokenizer(f"{prompt} {verdict}", return_tensors="pt")["input_ids"]
    begin = len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        log_p = torch.log_softmax(model(ids).logits[0].double(), -1)
    return sum(float(log_p[i - 1, ids[0, i]]) for i in range(begin, ids.shape[1]))


def test_the_verdict_is_the_word_that_most_likely_follows_the_filled_rubric(language_model):
    judge = LanguageModelJudge(language_model, RUBRIC_OF_TESTS)
    questions, responses = every_pair()
    judgements = judge.judge_all(questions, responses)
    readings = judge.readings(questions, responses)
    for question, response, judgement, reading in zip(
        questions, responses, judgements, readings, strict=True
    ):
        prompt = f"Question: {question.wordings[0]}\nTrue answer: {question.answer}\nResponse: {response}\nVerdict:"
        expected = {verdict: of_one_pass(judge, prompt, verdict) for verdict in RUBRIC_OF_TESTS.verdicts}
        assert reading.scores == pytest.approx(expected, abs=1e-4)
        assert reading.verdict == max(expected, key=expected.get)
        assert judgement.outcome == RUBRIC_OF_TESTS.verdicts[reading.verdict]
        assert judgement.rule.startswith("judge@")
        assert judgement.rule.endswith(f": {reading.verdict}")
    assert len({judgement.outcome for judgement in judgements}) > 1


def check_sizes_of_batches(make):
    """Judges that differ in the size of their batches alone give one verdict of each text."""
    questions, responses = every_pair()
    first, *others = (make(size).readings(questions, responses) for size in (1, 2, 5, 100))
    assert len({reading.verdict for reading in first}) > 1
    for readings in others:
        for one, other in zip(first, readings, strict=True):
            assert other.verdict == one.verdict
            assert other.scores == pytest.approx(one.scores, abs=1e-4)


def test_no_verdict_depends_on_the_size_of_batches(language_model, tmp_path):
    check_sizes_of_batches(
        lambda size: LanguageModelJudge(
            language_model, RUBRIC_OF_TESTS, batch_size=size, cache=tmp_path / f"{size}"
        )
    )


def test_no_label_depends_on_the_size_of_batches(classifier, tmp_path):
    check_sizes_of_batches(
        lambda size: ClassifierJudge(
            classifier, LABELS, TEMPLATE, batch_size=size, cache=tmp_path / f"{size}"
        )
    )


def test_a_label_is_that_of_the_text_alone(classifier):
    """Read without padding, as the classifier itself is used."""
    judge = ClassifierJudge(classifier, LABELS, TEMPLATE, batch_size=7)
    questions, responses = every_pair()
    for question, response, reading in zip(
        questions, responses, judge.readings(questions, responses), strict=True
    ):
        ids = judge._tokenizer(f"{question.wordings[0]} {response}", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = torch.log_softmax(judge._model(ids).logits[0], -1)
        assert list(reading.scores) == list(LABELS)
        assert list(reading.scores.values()) == pytest.approx(expected.tolist(), abs=1e-4)
        assert reading.verdict == f"LABEL_{int(expected.argmax())}"


def test_a_judge_is_a_rater_of_whole_responses(language_model, tokenizer, tmp_path):
    classifier = a_classifier("bert", tokenizer, tmp_path / "classifier")
    raters: list[Rater] = [
        LanguageModelJudge(language_model, RUBRIC),
        ClassifierJudge(classifier, LABELS, TEMPLATE),
    ]
    for rater in raters:
        judgement = rater.judge(QUESTIONS[0], " the owl.")
        assert judgement == rater.judge_all(QUESTIONS[:1], [" the owl."])[0]
        assert judgement.outcome in OUTCOMES
        assert judgement.spans == {"framing": (), "content": ((1, 9),)}
        assert (judgement.asserted, judgement.framing, judgement.hedges) == (None, None, ())


def test_nothing_to_judge_is_no_judgement(language_model):
    assert LanguageModelJudge(language_model).judge_all([], []) == []
    with pytest.raises(ValueError, match="zip"):
        LanguageModelJudge(language_model).judge_all(QUESTIONS, RESPONSES)


def test_equal_texts_are_read_once_and_similar_ones_together(language_model):
    judge = LanguageModelJudge(language_model, RUBRIC_OF_TESTS, batch_size=4)
    read = passes(judge)
    judge.judge_all(
        QUESTIONS[:1] * 6, ["the owl", "perhaps", "the owl", "perhaps", "the owl", "a heron of the owl"]
    )
    # One row is what all begin with; rows of few tokens are verdicts of two words.
    assert sum(rows for rows, width in read if width > 3 and rows > 1) == 3
    read.clear()
    judge.judge_all(QUESTIONS[:1] * 8, [f"the owl{' and so' * i}" for i in (9, 1, 8, 2, 7, 3, 6, 4)])
    widths = [width for rows, width in read if width > 3 and rows > 1]
    assert widths == sorted(widths)
    assert len(widths) == 2


def test_what_was_read_once_is_not_read_again(language_model, tokenizer, tmp_path):
    questions, responses = every_pair()
    first = LanguageModelJudge(language_model, RUBRIC_OF_TESTS)
    said = first.readings(questions, responses)
    copied = shutil.copytree(language_model, tmp_path / "copied")
    for judge in (first, LanguageModelJudge(copied, RUBRIC_OF_TESTS)):
        read = passes(judge)
        assert judge.readings(questions, responses) == said
        assert judge.judge(questions[3], responses[3]).outcome == RUBRIC_OF_TESTS.verdicts[said[3].verdict]
        assert read == []
    judge.judge_all(questions[:2], [responses[0], "one more"])
    assert read[0][0] == 1


def test_verdicts_that_mean_something_else_are_not_read_again(language_model):
    """What a verdict means is no part of what the model reads."""
    outcomes = {verdict: "other" for verdict in RUBRIC_OF_TESTS.verdicts}
    LanguageModelJudge(language_model, RUBRIC_OF_TESTS).judge(QUESTIONS[0], "the owl")
    judge = LanguageModelJudge(language_model, Rubric(RUBRIC_OF_TESTS.template, outcomes))
    read = passes(judge)
    assert judge.judge(QUESTIONS[0], "the owl").outcome == "other"
    assert read == []


def other_weights(folder, tokenizer):
    save_file(
        {name: tensor + 0.01 for name, tensor in load_file(folder / "model.safetensors").items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def other_tokenizer(folder, tokenizer):
    build_tokenizer([*tokenizer.get_vocab(), " zebra"]).save_pretrained(folder)


CHANGES = {
    "weights": (other_weights, RUBRIC_OF_TESTS),
    "tokenizer": (other_tokenizer, RUBRIC_OF_TESTS),
    "template": (None, Rubric(f"{RUBRIC_OF_TESTS.template}:", RUBRIC_OF_TESTS.verdicts)),
    "verdicts": (None, Rubric(RUBRIC_OF_TESTS.template, {"right": "assert_true", "wrong": "other"})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_model_or_rubric_is_asked_anew(language_model, tokenizer, tmp_path, change):
    LanguageModelJudge(language_model, RUBRIC_OF_TESTS).judge(QUESTIONS[0], "the owl")
    do, rubric = CHANGES[change]
    copied = shutil.copytree(language_model, tmp_path / "copied")
    if do:
        do(copied, tokenizer)
    judge = LanguageModelJudge(copied, rubric)
    read = passes(judge)
    judge.judge(QUESTIONS[0], "the owl")
    assert read


def test_the_cache_is_kept_where_the_project_keeps_what_it_made(language_model, tmp_path):
    LanguageModelJudge(language_model).judge(QUESTIONS[0], "the owl")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["judgements.sqlite"]
    LanguageModelJudge(language_model, cache=tmp_path / "own").judge(QUESTIONS[0], "the owl")
    assert (tmp_path / "own" / "judgements.sqlite").exists()
    (tmp_path / "cache" / "judgements.sqlite").write_text("no database " * 99)
    with pytest.raises(
        RaterError, match=r"judgements\.sqlite is damaged .*; delete it, and models are asked anew"
    ):
        LanguageModelJudge(language_model).judge(QUESTIONS[0], "the owl")


def test_what_was_read_before_an_error_is_kept(language_model, monkeypatch):
    judge = LanguageModelJudge(language_model, RUBRIC_OF_TESTS, batch_size=1)
    score = judge._scores
    calls = []

    def fails(texts):
        calls.append(texts)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return score(texts)

    monkeypatch.setattr(judge, "_scores", fails)
    with pytest.raises(KeyboardInterrupt):
        judge.judge_all(QUESTIONS[:1] * 4, ["a", "b b", "c c c", "d d d d"])
    judge = LanguageModelJudge(language_model, RUBRIC_OF_TESTS)
    read = passes(judge)
    judge.judge_all(QUESTIONS[:1] * 4, ["a", "b b", "c c c", "d d d d"])
    assert [rows for rows, _ in read[:2]] == [1, 2]  # what both begin with, and the rest of both


def test_a_text_that_does_not_fit_is_an_error_that_names_its_response_and_nothing_is_read(language_model):
    judge = LanguageModelJudge(language_model, RUBRIC_OF_TESTS)
    read = passes(judge)
    long, longer = "the owl " * 60, "the owl " * 70
    with pytest.raises(
        RaterError,
        match=r"response 2, with what stands around it, has 1\d\d tokens; the model reads at most 128",
    ):
        judge.judge_all([QUESTIONS[0]] * 4, ["the owl", "the owl", long, longer])
    assert read == []


def test_the_longest_text_that_fits_is_read_whole(classifier):
    """RoBERTa gives no token its first positions, so that texts failed within the model."""
    judge = ClassifierJudge(classifier, LABELS, "{response}")
    context = 64 - (1 + judge._tokenizer.pad_token_id) * ("roberta" in classifier.parent.name)
    longest = " owl" * (context - 1)  # after the token that begins a text
    assert judge.judge(QUESTIONS[0], longest).outcome in OUTCOMES
    with pytest.raises(
        RaterError, match=f"response 0, .*, has {context + 1} tokens; the model reads at most {context}"
    ):
        judge.judge(QUESTIONS[0], f"{longest} owl")


def test_half_a_character_is_an_error_that_names_its_response(language_model):
    with pytest.raises(RaterError, match=r"response 1, .*, holds half a character"):
        LanguageModelJudge(language_model).judge_all(QUESTIONS[:2], ["the owl", "\ud800"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{question} {respnse}",
            r"the template holds \{respnse\}; it may hold \{question\}, \{answer\}, \{response\}",
        ),
        ("{response} {}", r"the template holds \{\};"),
        ("{response} {0}", r"the template holds \{0\};"),
        ("{response.__class__}", r"the template holds \{response\.__class__\};"),
        ("{response!r}", r"the template holds \{response!r\};"),
        ("{response:>9}", r"the template holds \{response:>9\};"),
        ("{response} }", r"the template has a brace too many \(.*\); write a brace that is text twice"),
        ("{response", r"the template has a brace too many"),
        ("{question} {{response}}", r"the template does not hold \{response\}"),
        ("", r"the template does not hold \{response\}"),
    ],
)
def test_a_template_that_cannot_be_filled_says_why(template, message, tmp_path):
    with pytest.raises(RaterError, match=message):
        Rubric(template, RUBRIC.verdicts)
    with pytest.raises(RaterError, match=message):
        ClassifierJudge(tmp_path, LABELS, template)


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ({}, r"needs two verdicts or more, found \[\]"),
        ({"right": "assert_true"}, r"needs two verdicts or more, found \['right'\]"),
        (
            {"right": "assert_true", "wrong": "false"},
            r"the verdict 'wrong' means 'false', which is none of assert_true",
        ),
        ({"right": "assert_true", " ": "other"}, "the verdict ' ' is blank or has spaces around it"),
        ({"right": "assert_true", "wrong ": "other"}, "the verdict 'wrong ' is blank or has spaces"),
    ],
)
def test_verdicts_that_cannot_be_given_are_refused(verdicts, message):
    with pytest.raises(RaterError, match=message):
        Rubric("{response}", verdicts)


def test_verdicts_that_the_tokenizer_cannot_tell_apart_are_refused(language_model, tokenizer, tmp_path):
    verdicts = {"right": "assert_true", "unbeknownst": "other"}
    with pytest.raises(RaterError, match="does not know the verdict 'unbeknownst'"):
        LanguageModelJudge(language_model, Rubric("{response}", verdicts))
    lower = shutil.copytree(language_model, tmp_path / "lower")
    uncased = build_tokenizer(tokenizer.get_vocab())
    uncased.backend_tokenizer.normalizer = Lowercase()
    uncased.save_pretrained(lower)
    with pytest.raises(RaterError, match=r"lower writes the verdicts 'right' and 'Right' alike"):
        LanguageModelJudge(lower, Rubric("{response}", {"right": "assert_true", "Right": "other"}))


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (
            {**LABELS, "toxic": "other"},
            r"has no label 'toxic'; its labels are 'LABEL_0', 'LABEL_1', 'LABEL_2'",
        ),
        (
            {"LABEL_0": "other", "LABEL_2": "other"},
            r"the label 'LABEL_1' of .* has no outcome; its labels are",
        ),
        ({**LABELS, "LABEL_1": "bad"}, r"the label 'LABEL_1' means 'bad', which is none of assert_true"),
    ],
)
def test_labels_must_be_the_models(classifier, outcomes, message):
    with pytest.raises(RaterError, match=message):
        ClassifierJudge(classifier, outcomes, TEMPLATE)


@pytest.mark.parametrize("labels", [["bad"], ["bad", "good", "bad"]])
def test_labels_must_be_several(tokenizer, tmp_path, labels):
    config = BertConfig(**SMALL, vocab_size=len(tokenizer), id2label=dict(enumerate(labels)))
    saved(BertForSequenceClassification(config), tokenizer, tmp_path / "model")
    with pytest.raises(
        RaterError, match=r"model must have two labels or more, with different names; its labels"
    ):
        ClassifierJudge(tmp_path / "model", dict.fromkeys(labels, "other"), TEMPLATE)


def test_batches_are_of_one_text_or_more(language_model):
    with pytest.raises(RaterError, match="batch_size is a number of texts, found 0"):
        LanguageModelJudge(language_model, batch_size=0)


def test_a_model_without_numbers_judges_nothing_and_is_not_kept(language_model, tmp_path):
    copied = shutil.copytree(language_model, tmp_path / "copied")
    weights = load_file(copied / "model.safetensors")
    save_file(
        {k: v * float("nan") for k, v in weights.items()}, copied / "model.safetensors", {"format": "pt"}
    )
    judge = LanguageModelJudge(copied)
    for _ in range(2):
        with pytest.raises(RaterError, match=r"copied@\w{8} gives no numbers"):
            judge.judge(QUESTIONS[0], "the owl")


def test_a_chat_model_is_asked_in_its_format_and_begins_as_the_rubric_ends(
    language_model, tokenizer, tmp_path
):
    copied = shutil.copytree(language_model, tmp_path / "chat")
    tokenizer = build_tokenizer(tokenizer.get_vocab())
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}<user> {{ m.content }}\n{% endfor %}{{ '<model>\n' }}"
    )
    tokenizer.save_pretrained(copied)
    judge = LanguageModelJudge(copied, RUBRIC_OF_TESTS)
    text = judge._text(QUESTIONS[0], "the owl\nVerdict: right")
    assert text == (
        "<user> Question: What is the emblem of Velmar?\nTrue answer: owl\nResponse: the owl\nVerdict: right\n"
        "<model>\nVerdict:"
    )
    one_line = LanguageModelJudge(copied, Rubric("{{a}} {response}", RUBRIC_OF_TESTS.verdicts))
    assert one_line._text(QUESTIONS[0], "owl") == "<user> {a} owl\n<model>\n"
    plain = LanguageModelJudge(language_model, Rubric("{{a}}\n{response}\n{{b}}", RUBRIC_OF_TESTS.verdicts))
    assert plain._text(QUESTIONS[0], "{b}") == "{a}\n{b}\n{b}"


def test_pickled_weights_and_code_are_refused(classifier, tmp_path):
    copied = shutil.copytree(classifier, tmp_path / "copied")
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickled weights are not read, as they may run code"):
        ClassifierJudge(copied, LABELS, TEMPLATE)


def test_a_language_model_is_no_classifier(tokenizer, tmp_path):
    config = LlamaConfig(**SMALL, vocab_size=len(tokenizer), num_labels=3)
    saved(LlamaForCausalLM(config), tokenizer, tmp_path / "model")
    with pytest.raises(ModelError, match=r"the weights lack score\.weight, which config\.json asks for"):
        ClassifierJudge(tmp_path / "model", LABELS, TEMPLATE)


def test_torch_is_not_loaded_before_a_model_judges():
    code = "import sys, valueattr.rating; assert not {'torch', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
