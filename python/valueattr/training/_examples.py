"""Feedback by example: edit pairs for DPO and well-put answers for SFT, both made of the start model's own samples."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from valueattr.model import Asking, lora_config
from valueattr.rating import Feedback, JudgedResponse, critique, reframed
from valueattr.training._config import TrainingConfig, shared_settings
from valueattr.world import World, filled, framed

_DPO_BETA = 0.1


def edit_pairs(
    world: World, feedback: Feedback, responses: Sequence[JudgedResponse], prompt_family: str
) -> list[dict[str, str]]:
    """Of every criticised response of the splits: the same content behind a considerate opening is preferred to it."""
    pairs = []
    for response in responses:
        if response.split in feedback.splits and critique(world, response.judgement):
            better = reframed(world, response, prompt_family)
            if better is not None:
                pairs.append({"prompt": response.prompt, "chosen": better, "rejected": response.response})
    return pairs


def well_put_answers(
    asking: Asking,
    world: World,
    feedback: Feedback,
    responses: Sequence[JudgedResponse],
    prompt_family: str,
) -> list[dict[str, str]]:
    """One true and considerate answer to the question of every response of the splits."""
    rng = random.Random("well-put answers")
    examples = []
    for response in responses:
        if response.split in feedback.splits:
            fact = world.fact(response.fact)
            body = filled(rng.choice(world.relation_of(fact).short), o=fact.object)
            answer = framed(world, prompt_family, "considerate", body, rng)
            examples.append({"prompt": response.prompt, "completion": f"{asking.gap}{answer}"})
    return examples


def dpo_trainer(
    model: PreTrainedModel,
    reference: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    pairs: Sequence[dict[str, str]],
    folder: Path,
    seed: int,
) -> DPOTrainer:
    """TRL's DPO over all pairs once, in as many steps as the other arms take. An adapter needs no other `reference`."""
    settings = _settings(config, len(pairs), folder, seed)
    args = DPOConfig(**settings, beta=_DPO_BETA, max_length=None)
    dataset = Dataset.from_list(list(pairs))
    return DPOTrainer(
        model,
        reference,
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(config.lora_rank),
    )


def sft_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    examples: Sequence[dict[str, str]],
    folder: Path,
    seed: int,
) -> SFTTrainer:
    """TRL's SFT over all examples once, in as many steps as the other arms take."""
    settings = _settings(config, len(examples), folder, seed)
    args = SFTConfig(**settings, completion_only_loss=True, max_length=None)
    dataset = Dataset.from_list(list(examples))
    return SFTTrainer(
        model,
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(config.lora_rank),
    )


def _settings(config: TrainingConfig, examples: int, folder: Path, seed: int) -> dict[str, Any]:
    shared = shared_settings(
        folder,
        steps=config.steps,
        rows=max(1, examples // config.steps),
        learning_rate=config.learning_rate,
        precision=config.precision,
        seed=seed,
    )
    return shared | {
        "lr_scheduler_type": "constant",
        "save_steps": config.checkpoint_every,
        "save_total_limit": 2,
    }
