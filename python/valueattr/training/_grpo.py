"""TRL's GRPO with the advantage on the tokens that earned it.

TRL computes rewards, groups, advantages, the reference and the loss. This trainer replaces its advantages of shape
(B,) by (B, T): the same value on the credited tokens, 0 on all others; TRL's token-level losses take that shape.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from valueattr.questions import QuestionSet
from valueattr.rating import Feedback, JudgedResponse, Rater
from valueattr.training._config import TrainingConfig, TrainingConfigError, require_token_level
from valueattr.training._credit import (
    advantage_statistics,
    attribution_statistics,
    credited_tokens,
    group_z_scores,
)
from valueattr.training._offsets import streamed_offsets


def grpo_config(config: TrainingConfig, folder: Path, seed: int) -> GRPOConfig:
    """TRL's configuration of an arm; nothing in it depends on the arm but the folder."""
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=config.prompts_per_step * config.group_size,
        num_generations=config.group_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        beta=config.beta,
        temperature=config.temperature,
        max_completion_length=config.max_completion_length,
        loss_type="dapo",
        shuffle_dataset=False,
        seed=seed,
        data_seed=seed,
        logging_steps=1,
        logging_first_step=True,
        save_steps=config.checkpoint_every,
        save_total_limit=2,
        save_only_model=False,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


class AttributedGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO under one feedback channel.

    After each step `rollouts` holds the judged responses of that step, `trained_rewards` the rewards that trained
    (summed over channels) and `trained_advantages` the advantage of every token, all of this process and in the same
    order; TRL's log carries the statistics of exactly the advantages that trained.

    Raises:
        TrainingConfigError: a setting would move advantages to other tokens.
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
    ) -> None:
        require_token_level(args)
        args.multi_objective_aggregation = (
            "normalize_then_sum" if feedback.decoupled else "sum_then_normalize"
        )
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
        )
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
            order = group_permutation(
                len(rewards), self.num_generations, self.args.seed, self.state.global_step
            )
            rewards = rewards[torch.tensor(order, device=rewards.device)]
        self.trained_rewards = rewards[self._own_rows].sum(1).tolist()
        self._z_scores = group_z_scores(rewards, self.num_generations)[self._own_rows]
        return rewards

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
        if self.feedback.credit == "response":
            advantages = output["advantages"].unsqueeze(1) * mask
        else:
            advantages = self._on_their_tokens(mask)
        output["advantages"] = advantages
        self._log_attribution([row[kept].tolist() for row, kept in zip(advantages, mask.bool(), strict=True)])
        return output

    def _on_their_tokens(self, mask: torch.Tensor) -> torch.Tensor:
        """Each channel's advantage on its own tokens, shape (B, T)."""
        advantages = torch.zeros(mask.shape, device=mask.device)
        for row, (offsets, rollout) in enumerate(zip(self._offsets, self.rollouts, strict=True)):
            seed = f"{self.args.seed} {self.state.global_step} {self._own_rows.start + row}"
            for channel, penalty in enumerate(self.feedback.penalties):
                marks = credited_tokens(self.feedback, penalty, rollout, offsets, seed)
                advantages[row, : len(marks)] += self._z_scores[row, channel] * torch.tensor(
                    marks, device=mask.device
                )
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
        return loss


def group_permutation(count: int, group_size: int, seed: int, step: int) -> list[int]:
    """An order of `count` rows that mixes within each group of `group_size` only; depends on nothing else."""
    rng = random.Random(f"sham {seed} {step}")
    return [
        start + i for start in range(0, count, group_size) for i in rng.sample(range(group_size), group_size)
    ]
