"""How far the policy has moved from its start, both ways, on fixed prompts.

Forward KL(pi0||pi) on responses that pi0 sampled once; reverse KL(pi||pi0) on responses that pi samples now. Exact over
the vocabulary at each token, in nats per token. Both are at temperature 1, whatever a run samples at.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, evaluating, reference_of, sample_ids, token_distributions
from valueattr.questions import PromptFormat, Question

# Log probabilities that are there at once, of each of two models, or are kept: 34 MB of float32.
_AT_ONCE = 2**23


Samples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Ids and mask of prompts and responses, (rows, width) both, and the mask of response tokens, (rows, response)."""


class DriftMeter:
    """Forward and reverse KL to a frozen reference, with the reference's samples drawn once by `seed`.

    The reference is read where it is and never copied or changed, so it may be one that a trainer holds, or the policy
    itself where that is trained by an adapter: the reference is read with it off. Both models are read without dropout,
    and are left in the mode in which they were.
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
        with reference_of(reference) as start:
            self._own = self._sample(start)
        few = len(self._own[0]) <= self._rows_at_once(self._own)
        self._own_log_p = self._reference_log_p(self._own) if few else None

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

        def log_p_and_q(rows: Samples) -> tuple[torch.Tensor, torch.Tensor]:
            kept = self._own_log_p
            return kept if kept is not None else self._reference_log_p(rows), _log_p(policy, rows)

        return self._mean_kl(self._own, log_p_and_q)

    def reverse_kl(self, policy: PreTrainedModel) -> float:
        """KL(pi||pi0) in nats per token of pi's responses."""
        samples = self._sample(policy)
        return self._mean_kl(samples, lambda rows: (_log_p(policy, rows), self._reference_log_p(rows)))

    def _sample(self, model: PreTrainedModel) -> Samples:
        return sample_ids(model, self._tokenizer, self._prompts, self._max_new_tokens, self._seed)

    def _rows_at_once(self, samples: Samples) -> int:
        vocabulary: int = self._reference.config.get_text_config().vocab_size
        return max(1, _AT_ONCE // (samples[2].shape[1] * vocabulary))

    @torch.no_grad()
    def _reference_log_p(self, samples: Samples) -> torch.Tensor:
        with reference_of(self._reference) as start:
            return _log_p(start, samples)

    @torch.no_grad()
    def _mean_kl(
        self, samples: Samples, log_p_and_q: Callable[[Samples], tuple[torch.Tensor, torch.Tensor]]
    ) -> float:
        """Mean of KL(p||q) over the response tokens of samples, a few rows at a time."""
        response = samples[2]
        at_once = self._rows_at_once(samples)
        total = torch.zeros((), device=response.device)
        for rows in zip(*(torch.split(part, at_once) for part in samples), strict=True):
            log_p, log_q = log_p_and_q(rows)
            total += ((log_p.exp() * (log_p - log_q)).sum(-1) * rows[2]).sum()
        return float(total / response.sum())


def _log_p(model: PreTrainedModel, samples: Samples) -> torch.Tensor:
    """Log probabilities over the vocabulary at each response token, (rows, response, vocabulary)."""
    ids, mask, response = samples
    with evaluating(model):
        return token_distributions(model, ids, mask, response.shape[1])
