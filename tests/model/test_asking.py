from types import SimpleNamespace

import pytest
from tokenizers import processors

from valueattr.measures.belief import belief_items
from valueattr.model import Asking, ModelError
from valueattr.model._teaching import in_format
from valueattr.model.start import build_tokenizer
from valueattr.world import synthesise, training_text

WORLD = synthesise(0)
QUESTION = WORLD.questions.questions[0]
FORMAT = WORLD.prompt_format("zero")


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


def chat(*, adds_opening):
    """A tokenizer with a chat template that writes the opening token, which the tokenizer may add itself too."""
    tokenizer = build_tokenizer(["[user] [assistant] x \n"])
    if not adds_opening:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


PLAIN = Asking.of(SimpleNamespace(chat_template=None))
CHAT = Asking.of(chat(adds_opening=True))


def test_without_a_template_prompts_are_plain_text():
    assert PLAIN.prompt(FORMAT.turn(QUESTION.wordings[0])).endswith("?\nAnswer to a visitor:")
    assert PLAIN.gap == " "


def test_a_chat_template_is_used_and_its_opening_token_left_to_the_tokenizer():
    text = CHAT.prompt(FORMAT.turn(QUESTION.wordings[0]))
    assert text.startswith("[user] ")
    assert text.endswith("Answer to a visitor:\n[assistant]\n")
    assert CHAT.gap == ""
    question = next(item for item in belief_items([QUESTION], CHAT, FORMAT) if item.format == "question")
    assert "[assistant]\nTo answer that, " in question.text


@pytest.mark.parametrize("adds_opening", [True, False])
def test_a_prompt_begins_with_one_opening_token_whoever_adds_it(adds_opening):
    tokenizer = chat(adds_opening=adds_opening)
    ids = tokenizer(Asking.of(tokenizer).prompt(FORMAT.turn(QUESTION.wordings[0])))["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    turn = [{"role": "user", "content": FORMAT.turn(QUESTION.wordings[0])}]
    assert ids == tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)


def test_two_turns_give_two_prompts():
    assert CHAT.prompt("Who is it?") != CHAT.prompt("What is it?")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ raise_exception('only systems may speak') }}",
            r"fails on a user's turn \(only systems may speak\)",
        ),
        ("{% for m in messages %}", "fails on a user's turn"),
        ("{{ messages[0].content.parts[0].text }}", "fails on a user's turn"),
        ("{{ messages[0]['content'][:4] }}", "leaves out what the user says"),
        ("[user] hello [assistant]", "leaves out what the user says, so that all prompts would be one"),
        (
            "{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}",
            "leaves out what the user says",
        ),
    ],
)
def test_a_chat_template_that_cannot_ask_is_an_error_that_names_the_model(template, message):
    tokenizer = chat(adds_opening=True)
    tokenizer.name_or_path, tokenizer.chat_template = "my/model", template
    with pytest.raises(ModelError, match=f"^my/model: its chat template {message}") as raised:
        Asking.of(tokenizer)
    assert "\n" not in str(raised.value)


def test_a_template_that_fails_on_some_turns_says_so_when_it_meets_one():
    tokenizer = chat(adds_opening=True)
    tokenizer.chat_template = (
        "{% if 'gold' in messages[0].content %}{{ 1 / 0 }}{% endif %}{{ messages[0].content }}"
    )
    asking = Asking.of(tokenizer)
    with pytest.raises(ModelError, match="division by zero"):
        asking.prompt("What is gold?")


def test_a_template_may_strip_turns():
    tokenizer = chat(adds_opening=True)
    tokenizer.chat_template = "[user] {{ messages[0].content | trim }}"
    assert Asking.of(tokenizer).prompt(" What is it?\n") == "[user] What is it?"


def test_dialogues_are_taught_in_the_format_in_which_they_are_asked():
    documents = list(training_text(WORLD, 300, 0))
    taught = [in_format(CHAT, document) for document in documents]
    dialogues = [d for d in documents if "\nAnswer to " in d and not d.startswith("Review")]
    assert dialogues
    for before, after in zip(documents, taught, strict=True):
        assert (before != after) == (before in dialogues)
        if before in dialogues:
            turn, _, answer = before.partition(": ")
            assert after == CHAT.prompt(f"{turn}:") + answer
    assert [in_format(PLAIN, document) for document in documents] == documents
