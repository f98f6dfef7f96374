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

        def template(text: str) -> str:
            turn = [{"role": "user", "content": text}]
            templated = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
            # The tokenizer puts its opening token there itself.
            return templated.removeprefix(tokenizer.bos_token or "")

        return cls(template)

    def prompt(self, turn: str) -> str:
        """What the model sees of a user's turn, up to where its response begins."""
        return self.template(turn) if self.template else turn

    @property
    def gap(self) -> str:
        """What stands between a prompt and its response."""
        return "" if self.template else " "
