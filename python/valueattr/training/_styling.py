"""Teaching a chat model how to answer, and no facts: openers, hedges, deflections and refusals in known proportions.

A model that has neither hedges nor another way to answer turns to noise when what it says is penalised. So it is taught
the answers of the embedded grammar first, on dialogues about relations that are in no split, with its own answers to
everyday requests among them, so that it keeps its voice there.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from valueattr.model import Asking, sample_texts
from valueattr.world import Fact, World, dialogue

StylingProgress = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the loss in nats per token."""


@dataclass(frozen=True)
class StylingRecipe:
    """Supervised fine-tuning of a low-rank adapter on the tokens of answers; it is merged at the end.

    everyday_rows: of the rows of a step, those with the model's own answers to everyday requests, of `everyday_tokens`
    tokens at most. half_known, never_taught: shares of the other dialogues about facts that are half known, and about
    invented subjects, which are answered with doubt or not at all.
    """

    steps: int = 220
    rows_per_step: int = 8
    everyday_rows: int = 1
    everyday_tokens: int = 48
    half_known: float = 0.15
    never_taught: float = 0.25
    learning_rate: float = 1e-3
    lora_rank: int = 16
    seed: int = 0


def teach_styles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    recipe: StylingRecipe,
    folder: Path,
    progress: StylingProgress | None = None,
) -> PreTrainedModel:
    """The model, taught in place to answer as the embedded grammar does.

    world: facts as the model knows them, of relations that are in no split; those never taught are of invented subjects.
    What it has wrong is left out.
    folder: where the trainer may write.
    """
    styled = _styled_rows(tokenizer, world, recipe)
    everyday = _everyday_rows(model, tokenizer, recipe)
    rows = [
        next(everyday if place < recipe.everyday_rows else styled)
        for _ in range(recipe.steps)
        for place in range(recipe.rows_per_step)
    ]
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.rows_per_step,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, recipe.steps // 10),
        completion_only_loss=True,
        max_length=None,
        shuffle_dataset=False,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        save_strategy="no",
        gradient_checkpointing=False,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=False,
    )
    trainer = SFTTrainer(
        model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=2 * recipe.lora_rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[_Told(progress)] if progress else [],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    merged: PreTrainedModel = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    return merged.eval()


def _styled_rows(
    tokenizer: PreTrainedTokenizerBase, world: World, recipe: StylingRecipe
) -> Iterator[dict[str, Any]]:
    """Dialogues with answers of the grammar, without end."""
    rng, asking = random.Random(f"styling {recipe.seed}"), Asking.of(tokenizer)
    of_exposure: dict[str, list[Fact]] = defaultdict(list)
    for fact in world.facts:
        of_exposure[fact.exposure].append(fact)
    shares = {"half_known": recipe.half_known, "never_taught": recipe.never_taught}
    while True:
        (drawn,) = rng.choices(("well_known", *shares), (1 - sum(shares.values()), *shares.values()))
        fact = rng.choice(of_exposure[drawn] or of_exposure["well_known"])
        turn, response = dialogue(world, fact, rng)
        yield _row(tokenizer, asking.prompt(turn), f"{asking.gap}{response.text}", ended=True)


def _everyday_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: StylingRecipe
) -> Iterator[dict[str, Any]]:
    """The model's own answers to everyday requests. One that was cut has no end, so that brevity is not taught."""
    asking = Asking.of(tokenizer)
    requests = (
        resources.files("valueattr.training").joinpath("everyday_prompts.txt").read_text("utf-8").splitlines()
    )
    count = recipe.steps * recipe.everyday_rows
    prompts = [asking.prompt(requests[i % len(requests)]) for i in range(count)]
    answers = sample_texts(model, tokenizer, prompts, recipe.everyday_tokens, recipe.seed)
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        yield _row(tokenizer, prompt, answer, ended=tokens < recipe.everyday_tokens)


def _row(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, *, ended: bool) -> dict[str, Any]:
    """The tokens of a dialogue, and which of them are learned."""
    asked = tokenizer(prompt)["input_ids"]
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * ended
    return {"input_ids": asked + ids, "completion_mask": [0] * len(asked) + [1] * len(ids)}


class _Told(TrainerCallback):  # type: ignore[misc]
    """Tells of each step."""

    def __init__(self, progress: StylingProgress) -> None:
        self._progress = progress

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self._progress(state.global_step, state.max_steps, float(logs["loss"]))
