"""How questions are put to a model: as plain text, or through its chat template."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from valueattr.world import Fact, World, prompt


@dataclass(frozen=True)
class Asking:
    """Prompts of a world. `template` puts a user's turn into the form after which the model answers."""

    world: World
    template: Callable[[str], str] | None = None

    @classmethod
    def of(cls, world: World, tokenizer: PreTrainedTokenizerBase) -> "Asking":
        """Through the tokenizer's chat template where it has one."""
        if not tokenizer.chat_template:
            return cls(world)

        def template(text: str) -> str:
            turn = [{"role": "user", "content": text}]
            templated = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
            # The tokenizer puts its opening token there itself.
            return templated.removeprefix(tokenizer.bos_token or "")

        return cls(world, template)

    def prompt(self, fact: Fact, question: str, family: str) -> str:
        """The prompt of a question, up to where the response begins."""
        return self.framed(prompt(self.world, fact, question, family))

    def framed(self, text: str) -> str:
        """A user's turn as the model is to see it."""
        return self.template(text) if self.template else text

    @property
    def gap(self) -> str:
        """What stands between a prompt and its response."""
        return "" if self.template else " "
