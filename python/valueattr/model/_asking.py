"""How a turn is put to a model: as plain text, or through its chat template."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from valueattr.model._errors import ModelError, first_line


@dataclass(frozen=True)
class Asking:
    """`template` puts a user's turn into the form after which the model answers; None leaves it as plain text."""

    template: Callable[[str], str] | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Asking":
        """Through the tokenizer's chat template where it has one.

        Raises:
            ModelError: the template fails, or leaves out what the user says; `prompt` raises it too, where only some turns
                are what it fails on.
        """
        if not tokenizer.chat_template:
            return cls()

        opening = _opening(tokenizer)

        def template(text: str) -> str:
            return _templated(tokenizer, text).removeprefix(opening)

        template("What is copper?")  # so that no training begins which could not ask
        return cls(template)

    def prompt(self, turn: str) -> str:
        """What the model sees of a user's turn, up to where its response begins."""
        return self.template(turn) if self.template else turn

    @property
    def gap(self) -> str:
        """What stands between a prompt and its response."""
        return "" if self.template else " "


def _templated(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A turn in the tokenizer's chat template, which is a program of the model's makers, and may do anything to it."""
    turn = [{"role": "user", "content": text}]
    try:
        templated = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    except Exception as error:
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template fails on a user's turn ({first_line(error)}); mend "
            "chat_template in the tokenizer's files, or remove it, and prompts are plain text"
        ) from error
    if text.strip() not in templated:  # many templates strip turns
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template leaves out what the user says, so that all prompts would be one; "
            "mend chat_template in the tokenizer's files, or remove it, and prompts are plain text"
        )
    return templated


def _opening(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer itself puts before every text, so that a template need not; empty where it puts nothing."""
    whole, bare = tokenizer("x")["input_ids"], tokenizer("x", add_special_tokens=False)["input_ids"]
    before = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return "".join(tokenizer.convert_ids_to_tokens(whole[:before]))
