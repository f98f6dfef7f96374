"""Feedback in words: the policy learns what the start model would have said after reading a critique.

TRL's experimental SDPO teaches from other successful rollouts through a chat template; here each response is read again
with the critique of that very response. On the rollouts, judgements, logging and reference of `AttributedGRPOTrainer`
that is one loss, and every arm keeps one path. Hübotter et al. (2026), Reinforcement Learning via Self-Distillation.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from valueattr.model import token_distributions
from valueattr.rating import Judgement, review
from valueattr.training._grpo import AttributedGRPOTrainer
from valueattr.training._policy import policy_of


class CritiqueDistillationTrainer(AttributedGRPOTrainer):
    """Minimises KL(teacher || policy) on the tokens of criticised responses, in place of the policy gradient.

    The teacher is the frozen reference in the context of the response's critique. `critique`: what is said of a response,
    None if nothing; `whose` = "other" gives it the critique
    of another response of the step (the control). The KL penalty to the start model is as in the other arms.
    """

    def __init__(
        self,
        *arguments: Any,
        critique: Callable[[Judgement], str | None],
        whose: Literal["own", "other"] = "own",
        **named: Any,
    ) -> None:
        self._critique, self._whose = critique, whose
        super().__init__(*arguments, **named)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        contexts = self._contexts()
        encoded = self.processing_class(
            [context or "" for context in contexts], return_tensors="pt", padding=True, padding_side="left"
        ).to(output["completion_ids"].device)
        output["teacher_ids"], output["teacher_mask"] = encoded["input_ids"], encoded["attention_mask"]
        output["criticised"] = torch.tensor(
            [context is not None for context in contexts], device=output["completion_ids"].device
        )
        return output

    def _log_attribution(self, advantages: list[list[float]]) -> None:
        """No advantage trains here."""
        self.trained_advantages = [None] * len(self.rollouts)

    def _contexts(self) -> list[str | None]:
        """Per rollout the teacher's prompt, None where there is nothing to say."""
        said = [
            self._critique(r.judgement) if r.split in self.feedback.splits else None for r in self.rollouts
        ]
        if self._whose == "other":
            said = _of_another(said, f"{self.args.seed} {self.state.global_step}")
        return [
            review(rollout.prompt, rollout.response, words) if words else None
            for rollout, words in zip(self.rollouts, said, strict=True)
        ]

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        mask = inputs["completion_mask"]
        policy = model if self.ref_model is not None else policy_of(self)
        student = self._log_p(policy, inputs["prompt_ids"], inputs["prompt_mask"], inputs)
        with torch.no_grad(), self.reference() as reference:
            start = self._log_p(reference, inputs["prompt_ids"], inputs["prompt_mask"], inputs)
            teacher = self._log_p(reference, inputs["teacher_ids"], inputs["teacher_mask"], inputs)
        taught = mask * inputs["criticised"].unsqueeze(1)
        distilled = (_kl(teacher, student) * taught).sum() / taught.sum().clamp(min=1)
        kept_close = (_kl(student, start) * mask).sum() / mask.sum().clamp(min=1)
        mode = "train" if self.model.training else "eval"
        metrics = {
            "kl": float(kept_close.detach()),
            "distillation/kl": float(distilled.detach()),
            "distillation/criticised": float(inputs["criticised"].double().mean()),
        }
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)
        loss: torch.Tensor = distilled + self.beta * kept_close
        self._require_finite("loss", loss)
        return loss

    def _log_p(
        self, model: Any, context: torch.Tensor, context_mask: torch.Tensor, inputs: Mapping[str, Any]
    ) -> torch.Tensor:
        """Log probabilities at each response token after a context, shape (B, T, vocabulary)."""
        ids = torch.cat([context, inputs["completion_ids"]], dim=1)
        mask = torch.cat([context_mask, inputs["completion_mask"]], dim=1)
        with self.accelerator.autocast():
            return token_distributions(model, ids, mask, inputs["completion_ids"].shape[1], self.temperature)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) per token in nats, from log probabilities."""
    return (p.exp() * (p - q)).sum(-1)


def _of_another(said: Sequence[str | None], seed: str) -> list[str | None]:
    """Each critique moved to another response, none staying where it was."""
    order = list(range(len(said)))
    random.Random(f"critiques {seed}").shuffle(order)
    moved: list[str | None] = [None] * len(said)
    for giver, taker in zip(order, [*order[1:], *order[:1]], strict=True):
        moved[taker] = said[giver]
    return moved
