"""TRL's GRPO with the advantage on the tokens that earned it.

TRL computes rewards, groups, advantages, the reference and the loss. This trainer replaces its advantages of shape
(B,) by (B, T): the same value on the credited tokens, 0 on all others; TRL's token-level losses take that shape.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from valueattr.rating import Feedback, JudgedResponse, Rater
from valueattr.training._config import TrainingConfig, require_token_level
from valueattr.training._offsets import streamed_offsets, tokens_in_spans
from valueattr.world import World


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

    After each step `rollouts` holds the judged responses of that step and `trained_rewards` the rewards that trained
    (this process's, in the same order); TRL's log carries the statistics of exactly the advantages that trained.

    Raises:
        TrainingConfigError: a setting would move advantages to other tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        args: GRPOConfig,
        prompts: Dataset,
        world: World,
        feedback: Feedback,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        require_token_level(args)
        self.feedback = feedback
        self.rollouts: list[JudgedResponse] = []
        self.trained_rewards: list[float] = []
        self._world = world
        self._rater = Rater(world)
        super().__init__(
            model=model,
            args=args,
            reward_funcs=self._reward,
            train_dataset=prompts,
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )

    def _reward(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        fact: Sequence[str],
        pool: Sequence[str],
        paraphrase: Sequence[str],
        **_: Any,
    ) -> list[float]:
        self._offsets = [streamed_offsets(self.processing_class, ids) for ids in completion_ids]
        judgements = [
            self._rater.judge(self._world.fact(f), text)
            for f, (text, _) in zip(fact, self._offsets, strict=True)
        ]
        responses = [text for text, _ in self._offsets]
        columns = zip(fact, pool, paraphrase, range(len(fact)), prompts, responses, judgements, strict=True)
        self.rollouts = [JudgedResponse(*column) for column in columns]
        return [self.feedback.reward(p, j) for p, j in zip(pool, judgements, strict=True)]

    def _calculate_rewards(self, *arguments: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*arguments)
        if self.feedback.permuted:
            order = group_permutation(
                len(rewards), self.num_generations, self.args.seed, self.state.global_step
            )
            rewards = rewards[torch.tensor(order, device=rewards.device)]
        first = self.accelerator.process_index * len(self.rollouts)
        self.trained_rewards = rewards[first : first + len(self.rollouts), 0].tolist()
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        output["advantages"] = output["advantages"].unsqueeze(1) * self._credited(output["completion_mask"])
        return output

    def _credited(self, completion_mask: torch.Tensor) -> torch.Tensor:
        """Which tokens carry the advantage, shape (B, T)."""
        if (aspect := self.feedback.aspect) is None:
            return completion_mask
        credited = torch.zeros_like(completion_mask)
        for row, ((_, offsets), rollout) in enumerate(zip(self._offsets, self.rollouts, strict=True)):
            marks = tokens_in_spans(offsets, rollout.judgement.spans[aspect])
            credited[row, : len(marks)] = torch.tensor(marks, dtype=credited.dtype)
        return credited

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


def advantage_statistics(advantages: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """Of a (B, T) tensor on the tokens of the responses: mean and mean magnitude over all of them, and over the
    credited ones (advantage not 0) their share and root mean square; `zero_responses` is the share of responses that
    carry none.
    """
    kept = (advantages * mask).double()
    credited = kept != 0
    tokens = mask.sum().clamp(min=1)
    return {
        "mean": float(kept.sum() / tokens),
        "mean_magnitude": float(kept.abs().sum() / tokens),
        "credited_share": float(credited.sum() / tokens),
        "credited_rms": float((kept.square().sum() / credited.sum().clamp(min=1)).sqrt()),
        "zero_responses": float((~credited.any(dim=1)).double().mean()),
    }
