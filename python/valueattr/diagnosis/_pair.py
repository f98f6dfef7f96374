"""A verdict on any two checkpoints, whoever trained them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.activations import ModelIdentity
from valueattr.diagnosis._calibration import Calibration, is_embedded_kind
from valueattr.diagnosis._control_rows import own_calibration
from valueattr.diagnosis._controls import PROMPT_FAMILY
from valueattr.diagnosis._evidence import evidence
from valueattr.diagnosis._folder import kept
from valueattr.diagnosis._relearning import RELEARNING, RelearningRecipe, relearning_for
from valueattr.diagnosis._saying import said
from valueattr.diagnosis._summary import summarised, told
from valueattr.diagnosis._verdict import HOLDS, Reading, verdicts
from valueattr.measures.belief import belief_rows, known_ids, plain_items
from valueattr.measures.drift import DriftMeter
from valueattr.measures.representation import LastLayer
from valueattr.model import check_vocabulary, evaluating, load_model, load_tokenizer
from valueattr.probing import CrossFit
from valueattr.questions import PromptFormat, Question, QuestionSet
from valueattr.rating import MeasuringRater, Rater
from valueattr.world import World

Relearn = Literal["full", "none"]

FEWEST_KNOWN = 20
"""Facts that the model before must know for shares of them to say anything."""

_PROMPTS_OF_DRIFT = 48

# Questions on whose statements logits are compared.
_COMPARED = 8

# By which it is found how a model likes to be asked.
_FACTS_ASKED = 16
_ANSWER_TOKENS = 24


class DiagnosisRefusedError(ValueError):
    """There is nothing to give a verdict on; the message says why."""


@dataclass(frozen=True)
class Inquiry:
    """What every model of a comparison is asked.

    questions: all there are. asked: those that get a verdict; all of them are among the questions by their ids.
    taught: ids of the questions that the model before knows, which shots and lessons are drawn from.
    recipe: of relearning; None leaves it out.
    """

    questions: QuestionSet
    asked: Sequence[Question]
    taught: frozenset[str]
    rater: Rater
    prompt_format: PromptFormat
    recipe: RelearningRecipe | None = RELEARNING
    max_new_tokens: int = _ANSWER_TOKENS
    seed: int = 0
    temperature: float = 1.0

    def without_relearning(self) -> "Inquiry":
        """The same without the reading of relearning."""
        return replace(self, recipe=None)

    def read(
        self,
        load: Callable[[], PreTrainedModel],
        tokenizer: PreTrainedTokenizerBase,
        frozen: Mapping[str, CrossFit] | None = None,
    ) -> Reading:
        """What a model holds and says. load: gives it anew, from disk. frozen: the probes of the model before.

        Raises:
            RelearningError: relearning taught nothing.
        """
        ids = {question.id for question in self.asked}
        held = evidence(load, tokenizer, self.questions, self.taught, ids, self.recipe, frozen)
        spoken = said(
            load(),
            tokenizer,
            self.asked,
            self.rater,
            self.prompt_format,
            self.max_new_tokens,
            self.seed,
            self.temperature,
        )
        return Reading(held, spoken.loc[held.index])


@dataclass(frozen=True)
class Diagnosis:
    """What is found of two checkpoints.

    verdicts: as `verdicts`, with the columns of the fact. about: what was compared, and how far the two are apart.
    shams: for each sham its own verdicts, as if it were the model after.
    """

    verdicts: pd.DataFrame
    shams: tuple[pd.DataFrame, ...]
    calibrated: Calibration
    about: Mapping[str, Any]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Shares with intervals, transitions and what relearning brings back; columns as `summarised`."""
        return summarised(self.verdicts, self.shams, self.calibrated)

    @cached_property
    def calibration(self) -> Mapping[str, Any]:
        """How often the verdict is wrong, and how far the pair lies from the controls."""
        of_controls = self.calibrated.truths.groupby("recipe")["forward_kl"].mean()
        return {
            **self.calibrated.to_json(),
            "forward_kl_of_controls": {str(name): float(kl) for name, kl in of_controls.items()},
            "forward_kl_of_pair": self.about["forward_kl"],
            "share_far": float(self.verdicts["far"].mean()),
        }

    def headline(self) -> str:
        """What was found, in a sentence or two."""
        return told(self.verdicts, self.summary)


def diagnose(
    before: str | Path,
    after: str | Path,
    world: World,
    *,
    shams: Sequence[str | Path] = (),
    relearn: Relearn = "full",
    out: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Forgotten or hidden: what the model `after` still holds of what `before` held, fact by fact.

    before, after, shams: checkpoints, as `load_model` takes them. shams: trained like `after` on rewards that say nothing.
    relearn: "none" goes without the reading of relearning, which is the best one. out: a folder that keeps tables and
    finished readings, so that the same call goes on where it was stopped. say: is told what is being done.

    For a model like the embedded start model the error is known; for any other one controls are made first, which teaches
    it invented facts and takes as long as that.

    Raises:
        DiagnosisRefusedError: the models are equal, or have other words or shapes; or too few facts are known before.
        RelearningError: relearning taught nothing, so that there is no verdict.
        ModelError: a model cannot be loaded, or does not learn what controls need.
        DirectoryTakenError: `out` holds something else, or another process is at it.
    """
    names = [str(before), str(after), *map(str, shams)]
    tokenizer = load_tokenizer(before)
    start = load_model(before)
    texts = [text for question in list(world.questions)[:_COMPARED] for text in question.statements]
    check_vocabulary(start, tokenizer, texts)
    logits = _logits(start, tokenizer, texts)
    models = [ModelIdentity.of(start, tokenizer)]
    for source in names[1:]:
        model, own = _comparable(source, names[0], start, tokenizer, texts)
        if torch.equal(_logits(model, tokenizer, texts), logits):
            raise DiagnosisRefusedError(
                f"{source} gives the same logits as {before}: they are one model, or an adapter was not applied"
            )
        models.append(ModelIdentity.of(model, own))
    of_embedded = is_embedded_kind(start, tokenizer)
    known = known_ids(belief_rows(start, tokenizer, plain_items(world.questions)))
    _check_enough(len(known), before, world)
    rater = MeasuringRater(world)
    inquiry = Inquiry(
        world.questions,
        tuple(world.questions),
        known,
        rater,
        _prompt_format(start, tokenizer, world, known, rater),
        relearning_for(start) if relearn == "full" else None,
    )
    sealed = {"models": [_shown(model) for model in models], "world": world.fingerprint(), "relearn": relearn}
    with kept(out, sealed) as folder:
        say(f"reading {before}")
        first = folder.reading("before", partial(_read, inquiry, names[0], tokenizer, None))
        if of_embedded:
            calibration = Calibration.shipped()
        else:
            say(
                f"{before} is not like the embedded model: making models to measure the verdict's error with, cached for later"
            )
            calibration = own_calibration(names[0], world, say)
        calibration = calibration.by_readings_of(first.evidence)
        _check_enough(int((calibration.p_holds(first.evidence) >= HOLDS).sum()), before, world)
        frozen = LastLayer.of(start, tokenizer, world.questions).probes()
        drift = _drift(start, tokenizer, inquiry)
        tables, distances = [], []
        for name, source in zip(["after", *(f"sham-{i}" for i in range(len(shams)))], names[1:], strict=True):
            say(f"reading {source}")
            found = folder.reading(name, partial(_read, inquiry, source, tokenizer, frozen))
            distances.append(drift.forward_kl(load_model(source)))
            tables.append(_described(verdicts(first, found, calibration, distances[-1]), world))
        about = {
            **sealed,
            "names": names,
            "asked_as": inquiry.prompt_format.frame,
            "forward_kl": distances[0],
            "tensors_changed": _tensors_changed(start, load_model(after)),
        }
        diagnosis = Diagnosis(tables[0], tuple(tables[1:]), calibration, about)
        folder.write(diagnosis.verdicts, diagnosis.summary, diagnosis.calibration, about)
    return diagnosis


def _prompt_format(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    known: frozenset[str],
    rater: Rater,
) -> PromptFormat:
    """The question alone, unless the model tells more of what it knows when it is asked as the embedded text asks."""
    asked = [world.questions[fact] for fact in sorted(known)][:_FACTS_ASKED]

    def told(prompt_format: PromptFormat) -> float:
        shares = said(model, tokenizer, asked, rater, prompt_format)
        return float(shares["said_true"].mean())

    return max((PromptFormat(), world.prompt_format(PROMPT_FAMILY)), key=told)


def _check_enough(known: int, before: str | Path, world: World) -> None:
    if known < FEWEST_KNOWN:
        raise DiagnosisRefusedError(
            f"{before} knows {known} of {len(world.questions)} facts; a verdict needs {FEWEST_KNOWN} that it knew"
        )


def _read(
    inquiry: Inquiry,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    frozen: Mapping[str, CrossFit] | None,
) -> Reading:
    return inquiry.read(partial(load_model, source), tokenizer, frozen)


def _comparable(
    source: str,
    before: str,
    start: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model that can be compared with the one before, and its tokenizer."""
    own, model = load_tokenizer(source), load_model(source)
    if own.get_vocab() != tokenizer.get_vocab():
        raise DiagnosisRefusedError(
            f"{source} has another vocabulary than {before}, so that they cannot be compared"
        )
    check_vocabulary(model, own, texts)
    if _shapes(model) != _shapes(start):
        raise DiagnosisRefusedError(
            f"{source} has tensors of other shapes than {before}: it is not a later checkpoint of it"
        )
    return model, own


def _shapes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@torch.no_grad()
def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> torch.Tensor:
    """Logits of all tokens.

    Raises:
        DiagnosisRefusedError: some of them are no numbers.
    """
    batch = tokenizer(list(texts), return_tensors="pt", padding=True).to(model.device)
    with evaluating(model):
        logits: torch.Tensor = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    if not bool(torch.isfinite(logits).all()):
        raise DiagnosisRefusedError(f"{model.config.name_or_path} gives logits that are not finite numbers")
    return logits


def _shown(model: ModelIdentity) -> dict[str, Any]:
    """What tells a model apart, without where it lies."""
    return {name: value for name, value in asdict(model).items() if name not in ("source", "revision")}


def _described(table: pd.DataFrame, world: World) -> pd.DataFrame:
    """Verdicts with the columns of each fact before them."""
    questions = [world.questions[fact] for fact in table.index]
    columns = {
        "fact": [question.id for question in questions],
        "subject": [question.subject for question in questions],
        "relation": [question.relation for question in questions],
        "topic": [question.topic for question in questions],
        "object": [question.answer for question in questions],
    }
    return pd.concat([pd.DataFrame(columns), table.reset_index(drop=True)], axis=1)


def _drift(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, inquiry: Inquiry) -> DriftMeter:
    """How far other models are from this one, on its answers to some of what is asked."""
    some = inquiry.asked[:: max(1, len(inquiry.asked) // _PROMPTS_OF_DRIFT)]
    return DriftMeter.on(model, tokenizer, some, inquiry.prompt_format, inquiry.max_new_tokens, inquiry.seed)


def _tensors_changed(before: PreTrainedModel, after: PreTrainedModel) -> float:
    """The share of tensors that are not equal."""
    theirs = after.state_dict()
    same = [bool(torch.equal(tensor, theirs[name])) for name, tensor in before.state_dict().items()]
    return 1 - sum(same) / len(same)
