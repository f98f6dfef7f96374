"""How far the policy has moved from its start, both ways, on fixed prompts.

Forward KL(pi0||pi) on responses that pi0 sampled once; reverse KL(pi||pi0) on responses that pi samples now. Exact over
the vocabulary at each token, in nats per token.
"""

from collections.abc import Iterable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, evaluating, sample_ids, token_distributions
from valueattr.questions import PromptFormat, Question


class DriftMeter:
    """Forward and reverse KL to a frozen reference, with the reference's samples drawn once by `seed`.

    The reference is read where it is and never copied or changed, so it may be one that a trainer holds. Both models are
    read without dropout, and are left in the mode in which they were.
    """

    def __init__(
        self,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[str],
        max_new_tokens: int,
        seed: int,
    ) -> None:
        self._reference = reference
        self._tokenizer = tokenizer
        self._prompts = list(prompts)
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._own = self._sample(reference)
        self._own_log_p = self._log_p(reference, self._own)

    @classmethod
    def on(
        cls,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        questions: Iterable[Question],
        prompt_format: PromptFormat,
        max_new_tokens: int,
        seed: int,
    ) -> "DriftMeter":
        """On the first wording of each question."""
        asking = Asking.of(tokenizer)
        prompts = [asking.prompt(prompt_format.turn(question.wordings[0])) for question in questions]
        return cls(reference, tokenizer, prompts, max_new_tokens, seed)

    def forward_kl(self, policy: PreTrainedModel) -> float:
        """KL(pi0||pi) in nats per token of pi0's responses."""
        return _mean_kl(self._own_log_p, self._log_p(policy, self._own), self._own[2])

    def reverse_kl(self, policy: PreTrainedModel) -> float:
        """KL(pi||pi0) in nats per token of pi's responses."""
        samples = self._sample(policy)
        return _mean_kl(self._log_p(policy, samples), self._log_p(self._reference, samples), samples[2])

    def _sample(self, model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return sample_ids(model, self._tokenizer, self._prompts, self._max_new_tokens, self._seed)

    @torch.no_grad()
    def _log_p(
        self, model: PreTrainedModel, samples: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        ids, mask, response = samples
        with evaluating(model):
            return token_distributions(model, ids, mask, response.shape[1])


def _mean_kl(log_p: torch.Tensor, log_q: torch.Tensor, response: torch.Tensor) -> float:
    per_token = (log_p.exp() * (log_p - log_q)).sum(-1)
    return float((per_token * response).sum() / response.sum())
