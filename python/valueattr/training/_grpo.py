"""TRL's GRPO with the advantage on the tokens that earned it.

TRL computes rewards, groups, advantages, the reference and the loss. This trainer replaces its advantages of shape
(B,) by (B, T): the same value on the credited tokens, 0 on all others; TRL's token-level losses take that shape.

Where an adapter is trained, answers are sampled and scored with each group's prompt read once. Where whole weights are,
both are TRL's own.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from valueattr.model import RoundedWeights, by_cumulation, reference_of, sample_answers
from valueattr.questions import QuestionSet
from valueattr.rating import Feedback, JudgedResponse, Rater
from valueattr.training._answers import answer_log_probs, reads_prompts_once
from valueattr.training._config import (
    NotFiniteError,
    TrainingConfig,
    TrainingConfigError,
    require_token_level,
    shared_settings,
)
from valueattr.training._credit import (
    advantage_statistics,
    attribution_statistics,
    credited_tokens,
    group_z_scores,
)
from valueattr.training._offsets import streamed_offsets
from valueattr.training._policy import policy_of


def grpo_config(config: TrainingConfig, folder: Path, seed: int) -> GRPOConfig:
    """TRL's configuration of an arm; nothing in it depends on the arm but the folder."""
    return GRPOConfig(
        **shared_settings(
            folder,
            steps=config.steps,
            rows=config.prompts_per_step * config.group_size,
            learning_rate=config.learning_rate,
            precision=config.precision,
            seed=seed,
        ),
        num_generations=config.group_size,
        lr_scheduler_type="constant",
        beta=config.beta,
        temperature=config.temperature,
        max_completion_length=config.max_completion_length,
        loss_type="dapo",
        shuffle_dataset=False,
        logging_first_step=True,
        save_steps=config.checkpoint_every,
        save_total_limit=2,
        save_only_model=False,
        dataloader_num_workers=0,
    )


class AttributedGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO under one feedback channel.

    After each step `rollouts` holds the judged responses of that step, `trained_rewards` the rewards that trained
    (summed over channels) and `trained_advantages` the advantage of every token, all of this process and in the same
    order; TRL's log carries the statistics of exactly the advantages that trained. `adapter`: peft's settings of one
    (`lora_config`), which is trained in place of the weights; the reference is then the model with the adapter off.

    Raises:
        TrainingConfigError: a setting would move advantages to other tokens, or an adapter is to be trained in several
            processes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        args: GRPOConfig,
        prompts: Dataset,
        questions: QuestionSet,
        rater: Rater,
        feedback: Feedback,
        callbacks: Sequence[TrainerCallback] = (),
        adapter: Any = None,
    ) -> None:
        require_token_level(args)
        self.feedback = feedback
        self.rollouts: list[JudgedResponse] = []
        self.trained_rewards: list[float] = []
        self.trained_advantages: list[list[float] | None] = []
        self._questions = questions
        self._rater = rater
        super().__init__(
            model=model,
            args=args,
            reward_funcs=[self._channel(i) for i in range(len(feedback.penalties))],
            train_dataset=prompts,
            processing_class=tokenizer,
            callbacks=list(callbacks),
            peft_config=adapter,
        )
        if adapter is not None and self.accelerator.num_processes > 1:
            raise TrainingConfigError(
                "an adapter is trained in one process: lora_rank must be None in several"
            )
        # TRL's own path knows capped and scaled logits, and the auxiliary loss of experts.
        self._reads_prompts_once = (
            adapter is not None and not self.aux_loss_enabled and reads_prompts_once(policy_of(self))
        )
        self._rounded = RoundedWeights(self.model) if self._reads_prompts_once and args.bf16 else None
        if args.per_device_train_batch_size % self.num_generations:
            raise TrainingConfigError(
                f"{args.per_device_train_batch_size} responses per process are no whole groups of "
                f"{self.num_generations}: a group must be judged where its tokens are credited"
            )

    def _channel(self, index: int) -> Callable[..., list[float]]:
        """One of TRL's reward functions: reads the judgements that were made for all of them."""

        def reward(**_: Any) -> list[float]:
            return [self.feedback.rewards(response)[index] for response in self.rollouts]

        reward.__name__ = self.feedback.penalties[index].replace(" ", "_")
        return reward

    @contextmanager
    def reference(self) -> Iterator[PreTrainedModel]:
        """The start model: the frozen copy, or the policy with its adapter off."""
        if self.ref_model is not None:
            yield self.ref_model
        else:
            with reference_of(policy_of(self)) as start:
                yield start

    def training_step(self, *arguments: Any) -> torch.Tensor:
        """TRL's step, in bfloat16 with the frozen weights rounded once."""
        with self._rounded.in_place() if self._rounded else nullcontext():
            loss: torch.Tensor = super().training_step(*arguments)
        return loss

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *others: Any, **named: Any
    ) -> tuple[list[list[int]], Any]:
        """Responses by a seed of their step, so that a run that was interrupted goes on with the same ones."""
        if self._reads_prompts_once:
            return self._samples(prompt_ids), None
        found: tuple[list[list[int]], Any] = super()._generate_single_turn(prompt_ids, *others, **named)
        return found

    def _samples(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        seed = random.Random(f"samples {self.args.seed} {self.state.global_step}").getrandbits(63)
        drawn = by_cumulation(torch.Generator(self.accelerator.device).manual_seed(seed))

        def draw(p: torch.Tensor) -> torch.Tensor:
            self._require_finite("probability of a token", p)
            return drawn(p)

        with self.accelerator.autocast():
            sampled = sample_answers(
                policy_of(self),
                self.processing_class,
                prompt_ids,
                self.eos_token_ids,
                self.max_completion_length,
                draw,
                self.temperature,
            )
        assert sampled is not None
        return sampled

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *others: Any,
        **named: Any,
    ) -> Any:
        if self._reads_prompts_once:
            with self.accelerator.autocast():
                found = answer_log_probs(
                    policy_of(self), input_ids, attention_mask, logits_to_keep, self.temperature
                )
            if found is not None:  # else every prompt is of one token
                return *found, None
        return super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *others, **named
        )

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> torch.Tensor:
        self._judge(inputs, completion_ids)
        rewards: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        if self.feedback.permuted:
            rewards = self._of_others("sham", rewards)
        self.trained_rewards = rewards[self._own_rows].sum(1).tolist()
        z_scores = group_z_scores(rewards, self.num_generations)
        self._z_scores = z_scores[self._own_rows]
        if self.feedback.credit == "noise":
            self._noise = self._of_others("noise", z_scores)[self._own_rows]
        return rewards

    def _of_others(self, what: str, rows: torch.Tensor) -> torch.Tensor:
        """The rows, which change places within each group, in an order of their own for each purpose."""
        seed = f"{what} {self.args.seed} {self.state.global_step}"
        return rows[
            torch.tensor(group_permutation(len(rows), self.num_generations, seed), device=rows.device)
        ]

    def _judge(self, inputs: list[dict[str, Any]], completion_ids: Sequence[Sequence[int]]) -> None:
        decoded = [streamed_offsets(self.processing_class, ids) for ids in completion_ids]
        self._offsets = [offsets for _, offsets in decoded]
        self.rollouts = [
            JudgedResponse(
                fact=row["fact"],
                split=row["split"],
                wording=row["wording"],
                sample=i,
                prompt=row["prompt"],
                response=text,
                judgement=self._rater.judge(self._questions[row["fact"]], text),
                unsure=row["unsure"],
            )
            for i, (row, (text, _)) in enumerate(zip(inputs, decoded, strict=True))
        ]

    @property
    def _own_rows(self) -> slice:
        """Of the rows of all processes, this one's."""
        first = self.accelerator.process_index * len(self.rollouts)
        return slice(first, first + len(self.rollouts))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"]
        if self.feedback.credit == "response" and not self.feedback.decoupled:
            advantages = output["advantages"].unsqueeze(1) * mask
        else:
            advantages = self._on_their_tokens(mask)
        output["advantages"] = advantages
        self._log_attribution([row[kept].tolist() for row, kept in zip(advantages, mask.bool(), strict=True)])
        return output

    def _on_their_tokens(self, mask: torch.Tensor) -> torch.Tensor:
        """Each channel's advantage on its own tokens, and noise on the others where that is trained; shape (B, T)."""
        advantages = torch.zeros(mask.shape, device=mask.device)
        for row, (offsets, rollout) in enumerate(zip(self._offsets, self.rollouts, strict=True)):
            seed = f"{self.args.seed} {self.state.global_step} {self._own_rows.start + row}"
            for channel, penalty in enumerate(self.feedback.penalties):
                marks = torch.tensor(
                    credited_tokens(self.feedback, penalty, rollout, offsets, seed), device=mask.device
                )
                advantages[row, : len(marks)] += self._z_scores[row, channel] * marks
                if self.feedback.credit == "noise":
                    advantages[row, : len(marks)] += self._noise[row, channel] * ~marks
        return advantages * mask

    def _log_attribution(self, advantages: list[list[float]]) -> None:
        self.trained_advantages = list(advantages)
        mode = "train" if self.model.training else "eval"
        statistics = attribution_statistics(
            self.feedback, advantages, self.rollouts, self._offsets, self.num_generations
        )
        for name, value in statistics.items():
            self._metrics[mode][f"advantage/{name}"].append(value)

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        mode = "train" if self.model.training else "eval"
        for name, value in advantage_statistics(inputs["advantages"], inputs["completion_mask"]).items():
            self._metrics[mode][f"advantage/{name}"].append(value)
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        self._require_finite("advantage", inputs["advantages"])
        self._require_finite("loss", loss)
        return loss

    def _require_finite(self, name: str, values: torch.Tensor) -> None:
        """Stop before values that are no numbers reach the weights.

        Raises:
            NotFiniteError: there is one.
        """
        if not values.isfinite().all():
            or_else = " or train with precision float32" if self.args.bf16 else ""
            raise NotFiniteError(
                f"step {self.state.global_step + 1}: the {name} is not finite; lower learning_rate{or_else}"
            )


def group_permutation(count: int, group_size: int, seed: str) -> list[int]:
    """An order of `count` rows that mixes within each group of `group_size` only; depends on nothing else."""
    rng = random.Random(seed)
    return [
        start + i for start in range(0, count, group_size) for i in rng.sample(range(group_size), group_size)
    ]
