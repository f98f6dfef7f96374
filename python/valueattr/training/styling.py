"""Teaching a chat model how to answer, and no facts: openers, hedges, deflections and refusals in known proportions.

A model that has neither hedges nor another way to answer turns to noise when what it says is penalised. So it is taught
ways to answer first, in the phrases of the embedded text, on dialogues about facts that are in no split. What it knows
it is taught to say, or in a quarter of answers to evade; what it does not know well, to say that it does not. Its own
answers to everyday requests are among them, so that it keeps its voice there.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
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

from valueattr.model import (
    Asking,
    by_cumulation,
    end_tokens,
    lora_config,
    sample_answers,
    unfused_attention,
)
from valueattr.questions import Exposure
from valueattr.training._config import NotFiniteError, TrainingConfigError, shared_settings
from valueattr.training._policy import merged_policy_of
from valueattr.world import FRAMINGS, Fact, Response, World, filled, framed, statement_prefix

StylingProgress = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the loss in nats per token."""


_PREFACED = 0.3
"""The share of questions that are said to be sensitive, whatever they are about."""
_EVADED = 0.25
"""The share of answers to what is known that evade it."""
_STATEMENT_TOKENS = 8


@dataclass(frozen=True)
class StylingRecipe:
    """Supervised fine-tuning of a low-rank adapter on the tokens of answers; it is merged at the end.

    everyday_rows, statement_rows: of the rows of a step, those in which the model answers an everyday request itself, with
    `everyday_tokens` tokens at most, or ends a statement about a fact. half_known, never_taught: shares of the dialogues
    about facts that are half known, and about invented subjects, which are answered with doubt or not at all.
    temperature: at which the shares are to hold; a model that learned them at 1 and is sampled below says what is rare
    less often.
    """

    steps: int = 320
    rows_per_step: int = 16
    everyday_rows: int = 3
    statement_rows: int = 5
    everyday_tokens: int = 48
    half_known: float = 0.05
    never_taught: float = 0.1
    learning_rate: float = 5e-4
    lora_rank: int = 16
    temperature: float = 0.7
    seed: int = 0


def teach_styles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    recipe: StylingRecipe,
    folder: Path,
    progress: StylingProgress | None = None,
) -> PreTrainedModel:
    """The model, taught in place to answer in the phrases of the embedded text.

    world: facts as the model knows them, which are in no split; those never taught are of invented subjects.
    What it has wrong is left out. folder: where the trainer may write.

    Raises:
        NotFiniteError: the loss is no number.
        ModelError: peft is not installed.
        TrainingConfigError: the model keeps no keys and values.
    """
    styled = _styled_rows(tokenizer, world, recipe)
    everyday = _everyday_rows(model, tokenizer, recipe)
    statements = _statement_rows(model, tokenizer, world, recipe)
    own = [everyday] * recipe.everyday_rows + [statements or styled] * recipe.statement_rows
    of_a_step = own + [styled] * (recipe.rows_per_step - len(own))
    rows = [next(rows) for _ in range(recipe.steps) for rows in of_a_step]
    args = SFTConfig(
        **shared_settings(
            folder,
            steps=recipe.steps,
            rows=recipe.rows_per_step,
            learning_rate=recipe.learning_rate,
            precision="bfloat16",
            seed=recipe.seed,
        ),
        lr_scheduler_type="cosine",
        warmup_steps=max(1, recipe.steps // 10),
        completion_only_loss=True,
        max_length=None,
        shuffle_dataset=False,
        save_strategy="no",
    )
    trainer = _Trainer(
        model,
        recipe.temperature,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.lora_rank),
        callbacks=[_Told(progress)] if progress else [],
    )
    trainer.remove_callback(PrinterCallback)
    with unfused_attention(model):
        trainer.train()
    if not all(math.isfinite(row.get("loss", 0)) for row in trainer.state.log_history):
        raise NotFiniteError(
            "teaching styles: the loss is not finite; give a lower learning_rate in the recipe"
        )
    return merged_policy_of(trainer).eval()


def styled_dialogue(world: World, fact: Fact, rng: random.Random) -> tuple[str, Response]:
    """A question about a fact as some family asks it, and an answer that asserts nothing but what is well known."""
    family = rng.choice(tuple(world.english.prompt_families))
    wording, prefaces = rng.choice(world.questions[fact.id].wordings), world.english.prefaces
    if rng.random() < _PREFACED:
        wording = f"{rng.choice((*prefaces.prompted, *prefaces.held_out))} {wording}"
    asserted, hedge = _content(fact, rng)
    odds = world.english.prompt_families[family]
    framing = rng.choices(FRAMINGS, odds.asserts if asserted else odds.evades)[0]
    phrases = world.english.hedge if asserted else world.english.evasion
    said = [rng.choice(phrases[hedge])] if hedge else []
    if asserted:
        said.append(filled(rng.choice(world.relation_of(fact).short), o=asserted))
    text = framed(world, family, framing, " ".join(said), rng)
    return world.prompt_format(family).turn(wording), Response(
        text, asserted, framing, (hedge,) if hedge else ()
    )


def _content(fact: Fact, rng: random.Random) -> tuple[str | None, str | None]:
    """What is asserted, and the kind of hedge."""
    if fact.exposure != "well_known":
        return None, "non_affirmation"
    if rng.random() < _EVADED:
        return None, rng.choice(("both_sides", "deflection", "ai_disclaimer", "refusal"))
    return fact.object, rng.choice((None, None, None, "epistemic", "caveat", "booster"))


def _styled_rows(
    tokenizer: PreTrainedTokenizerBase, world: World, recipe: StylingRecipe
) -> Iterator[dict[str, Any]]:
    """Dialogues with styled answers, without end."""
    rng, asking = random.Random(f"styling {recipe.seed}"), Asking.of(tokenizer)
    while True:
        turn, response = styled_dialogue(world, drawn_fact(world, recipe, rng), rng)
        answer = tokenizer(f"{asking.gap}{response.text}", add_special_tokens=False)["input_ids"]
        yield _row(tokenizer, asking.prompt(turn), [*answer, tokenizer.eos_token_id])


def drawn_fact(world: World, recipe: StylingRecipe, rng: random.Random) -> Fact:
    """A fact of the exposure that the recipe's shares draw, or a well-known one where there is none of it."""
    shares: dict[Exposure, float] = {"half_known": recipe.half_known, "never_taught": recipe.never_taught}
    (exposure,) = rng.choices(("well_known", *shares), (1 - sum(shares.values()), *shares.values()))
    of_exposure = [fact for fact in world.facts if fact.exposure == exposure]
    return rng.choice(of_exposure or [fact for fact in world.facts if fact.exposure == "well_known"])


def _everyday_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: StylingRecipe
) -> Iterator[dict[str, Any]]:
    """The model's own answers to everyday requests."""
    requests = (
        resources.files("valueattr.training").joinpath("everyday_prompts.txt").read_text("utf-8").splitlines()
    )
    count = recipe.steps * recipe.everyday_rows
    asking = Asking.of(tokenizer)
    prompts = [asking.prompt(requests[i % len(requests)]) for i in range(count)]
    return _own_rows(model, tokenizer, prompts, recipe.everyday_tokens, recipe)


def _statement_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World, recipe: StylingRecipe
) -> Iterator[dict[str, Any]] | None:
    """Statements about facts, up to the object, as the model itself goes on; relations come up equally often.

    None where no wording ends in the object.
    """
    rng, begun = random.Random(f"statements {recipe.seed}"), []
    worded = [
        (ending, facts)
        for name, facts in world.by_relation().items()
        if (ending := [said for said in world.relations[name].statements if said.endswith("{o}")])
    ]
    if not worded:
        return None
    for _ in range(recipe.steps * recipe.statement_rows):
        ending, facts = rng.choice(worded)
        begun.append(statement_prefix(rng.choice(ending), rng.choice(facts)))
    return _own_rows(model, tokenizer, begun, _STATEMENT_TOKENS, recipe)


def _own_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    tokens: int,
    recipe: StylingRecipe,
) -> Iterator[dict[str, Any]]:
    """Texts as the model goes on. One that was cut at so many tokens has no end, so that brevity is not taught.

    Raises:
        TrainingConfigError: the model keeps no keys and values, so that it cannot be sampled so.
    """
    asked, ends = tokenizer(list(prompts))["input_ids"], end_tokens(model, tokenizer)
    draw = by_cumulation(torch.Generator(model.device).manual_seed(recipe.seed))
    answers = sample_answers(model, tokenizer, asked, ends, tokens, draw, recipe.temperature)
    if answers is None:
        raise TrainingConfigError("styles can be taught only to a model that keeps keys and values")
    for prompt, answer in zip(prompts, answers, strict=True):
        yield _row(tokenizer, prompt, answer)


def _row(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: Sequence[int]) -> dict[str, Any]:
    """The tokens of a dialogue, and which of them are learned."""
    asked = tokenizer(prompt)["input_ids"]
    return {"input_ids": [*asked, *answer], "completion_mask": [0] * len(asked) + [1] * len(answer)}


class _Trainer(SFTTrainer):  # type: ignore[misc]
    """Learns answers at a temperature. Logits are taken where some row has an answer; on a CPU, TRL takes them everywhere."""

    def __init__(self, model: PreTrainedModel, temperature: float, **options: Any) -> None:
        super().__init__(model, **options)
        self._temperature = temperature

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], **_: Any) -> torch.Tensor:
        """The mean loss over the tokens of answers, in nats."""
        labels = inputs["labels"][:, 1:]
        answers = labels != -100
        places = answers.any(0).nonzero().squeeze(1)
        texts = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        logits = model(**texts, logits_to_keep=places).logits[answers[:, places]]
        return cross_entropy(logits.float() / self._temperature, labels[answers])


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
