from types import SimpleNamespace

from valueattr.measures.belief import belief_items
from valueattr.model import Asking
from valueattr.model._teaching import _in_format
from valueattr.world import synthesise, training_text

WORLD = synthesise(0)
QUESTION = WORLD.questions.questions[0]
FORMAT = WORLD.prompt_format("zero")


class Chat(SimpleNamespace):
    chat_template = "yes"
    bos_token = "<s>"

    def apply_chat_template(self, turns, tokenize, add_generation_prompt):
        assert not tokenize
        assert add_generation_prompt
        return "<s>" + "".join(f"[{t['role']}] {t['content']}\n" for t in turns) + "[assistant]\n"


PLAIN = Asking.of(SimpleNamespace(chat_template=None))
CHAT = Asking.of(Chat())


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


def test_dialogues_are_taught_in_the_format_in_which_they_are_asked():
    documents = list(training_text(WORLD, 300, 0))
    taught = [_in_format(CHAT, document) for document in documents]
    dialogues = [d for d in documents if "\nAnswer to " in d and not d.startswith("Review")]
    assert dialogues
    for before, after in zip(documents, taught, strict=True):
        assert (before != after) == (before in dialogues)
        if before in dialogues:
            turn, _, answer = before.partition(": ")
            assert after == CHAT.prompt(f"{turn}:") + answer
    assert [_in_format(PLAIN, document) for document in documents] == documents
