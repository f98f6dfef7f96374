"""How a turn is put to a model: as plain text, or through its chat template."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Asking:
    """`template` puts a user's turn into the form after which the model answers; None leaves it as plain text."""

    template: Callable[[str], str] | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Asking":
        """Through the tokenizer's chat template where it has one."""
        if not tokenizer.chat_template:
            return cls()

        opening = _opening(tokenizer)

        def template(text: str) -> str:
            turn = [{"role": "user", "content": text}]
            templated = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
            return templated.removeprefix(opening)

        return cls(template)

    def prompt(self, turn: str) -> str:
        """What the model sees of a user's turn, up to where its response begins."""
        return self.template(turn) if self.template else turn

    @property
    def gap(self) -> str:
        """What stands between a prompt and its response."""
        return "" if self.template else " "


def _opening(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer itself puts before every text, so that a template need not; empty where it puts nothing."""
    whole, bare = tokenizer("x")["input_ids"], tokenizer("x", add_special_tokens=False)["input_ids"]
    before = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return "".join(tokenizer.convert_ids_to_tokens(whole[:before]))
