"""How well the evidence tells what is held from what is lost, on models whose answer is known."""

from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.activations import ModelIdentity
from valueattr.diagnosis._classifier import bins_of, error_of, fit_classifier, held_out_p, p_holds
from valueattr.diagnosis._evidence import EVIDENCE
from valueattr.model import (
    load_model,
    load_tokenizer,
)
from valueattr.model.start import EMBEDDED
from valueattr.results import RunDirectoryError

# A reading is far where this many controls are not within the distance of all but this share of controls of other bases.
_NEIGHBOURS = 5
_WITHIN = 0.995

_CONTROLS = "controls.parquet"


@dataclass(frozen=True)
class Calibration:
    """Controls, what they make of a model's evidence, and how often that is wrong.

    controls: as `control_rows`, of two bases and two recipes or more. readings: those of the evidence that are used.
    """

    controls: pd.DataFrame
    readings: tuple[str, ...] = EVIDENCE

    @classmethod
    @cache  # a report asks for its rates once a row
    def shipped(cls) -> "Calibration":
        """That of the embedded start model."""
        with resources.as_file(resources.files("valueattr.diagnosis").joinpath(_CONTROLS)) as file:
            return cls.saved(file)

    @classmethod
    @cache
    def saved(cls, file: Path) -> "Calibration":
        """That of the controls in a Parquet file.

        Raises:
            RunDirectoryError: the file is damaged.
        """
        try:
            controls = pd.read_parquet(file)
            controls[["base", "recipe", "exposure", "holds", "partly_erased", "forward_kl", *EVIDENCE]]
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RunDirectoryError(
                f"{file} is damaged ({type(error).__name__}): remove it, and it is made anew"
            ) from None
        return cls(controls)

    def by_readings_of(self, evidence: pd.DataFrame) -> "Calibration":
        """The same by those readings that there are of most facts: probes need objects that several subjects have."""
        there = tuple(
            name for name in self.readings if name in evidence and evidence[name].notna().mean() > 0.5
        )
        return self if there == self.readings else replace(self, readings=there)

    @cached_property
    def truths(self) -> pd.DataFrame:
        """The controls whose answer is known: facts that were known well, and that planting did not partly erase.

        Those that lack a reading are left out.
        """
        known = self.controls[self.controls["exposure"] == "well_known"]
        return self._whole(known[~known["partly_erased"]]).reset_index(drop=True)

    @cached_property
    def held_out(self) -> pd.Series:
        """P(holds) of every truth, by a classifier that saw neither its recipe nor its base."""
        return held_out_p(self.truths, self.readings)

    def p_holds(self, evidence: pd.DataFrame) -> pd.Series:
        """P(holds) of every row of a model's evidence; missing where a reading is."""
        whole = self._whole(evidence)
        if whole.empty:
            return pd.Series(np.nan, index=evidence.index)
        return p_holds(self._classifier, whole, self.readings).reindex(evidence.index)

    def is_far(self, evidence: pd.DataFrame) -> "pd.Series[bool]":
        """Whether evidence is unlike that of every control.

        It is not where all of it is beyond the middle of the held facts, or all of it below the middle of the lost ones.
        """
        whole = self._whole(evidence)
        if whole.empty:
            return pd.Series(False, index=evidence.index)
        rows = self._scaled(whole)
        held, lost = (self._scaled(self.truths[self.truths["holds"] == holds]) for holds in (True, False))
        beyond = (rows >= np.median(held, axis=0)).all(axis=1) | (rows <= np.median(lost, axis=0)).all(axis=1)
        far = (_distance(self._scaled(self.truths), rows) > self._reach) & ~beyond
        return pd.Series(far, whole.index).reindex(evidence.index, fill_value=False)

    @property
    def farthest(self) -> float:
        """The largest forward KL of a control from its base, in nats per token."""
        return float(self.truths["forward_kl"].max())

    def errors(self) -> pd.DataFrame:
        """Of each recipe and of all, by each reading alone and by all together: as `Error`; `recipe` and `by` say which."""
        rows = []
        for by, readings in [("all", self.readings), *((name, (name,)) for name in self.readings)]:
            p = self.held_out if by == "all" else held_out_p(self.truths, readings)
            groups = [("all", self.truths), *self.truths.groupby("recipe")]
            rows += [
                {"recipe": str(name), "by": by, **asdict(error_of(p[group.index], group["holds"]))}
                for name, group in groups
            ]
        return pd.DataFrame(rows)

    def reliability(self) -> pd.DataFrame:
        """Ten bins of P(holds) of equal width: `facts`, mean `p_holds`, share `held`."""
        bins = bins_of(self.held_out)
        table = pd.DataFrame({"p_holds": self.held_out, "held": self.truths["holds"].astype(float)})
        means = table.groupby(bins).mean()
        return means.assign(facts=table.groupby(bins).size()).rename_axis("bin").reset_index()

    def rates(self) -> pd.DataFrame:
        """Of each base and recipe, how many facts are `held` and `lost`, and how many of either have P(holds) >= 1/2."""
        called = self.held_out >= 0.5
        holds = self.truths["holds"].astype(bool)
        counts = pd.DataFrame(
            {"held": holds, "lost": ~holds, "held_called": holds & called, "lost_called": ~holds & called}
        )
        keys = [self.truths["base"], self.truths["recipe"]]
        return counts.groupby(keys).sum().reset_index()

    def to_json(self) -> dict[str, Any]:
        """Everything that is known of the error, as JSON values."""
        return {
            "bases": int(self.truths["base"].nunique()),
            "readings": list(self.readings),
            "errors": self.errors().to_dict("records"),
            "reliability": self.reliability().to_dict("records"),
            "rates": self.rates().to_dict("records"),
        }

    def _whole(self, evidence: pd.DataFrame) -> pd.DataFrame:
        """The rows that lack no reading."""
        return evidence.dropna(subset=list(self.readings))

    @cached_property
    def _classifier(self) -> Pipeline:
        return fit_classifier(self.truths, self.readings)

    def _scaled(self, evidence: pd.DataFrame) -> "np.ndarray[Any, np.dtype[np.float64]]":
        scaler = self._classifier.named_steps["standardscaler"]
        scaled: np.ndarray[Any, np.dtype[np.float64]] = scaler.transform(
            evidence[list(self.readings)].to_numpy()
        )
        return scaled

    @cached_property
    def _reach(self) -> float:
        distances = [
            _distance(self._scaled(self.truths[self.truths["base"] != base]), self._scaled(rows))
            for base, rows in self.truths.groupby("base")
        ]
        return float(np.quantile(np.concatenate(distances), _WITHIN))


def _distance(
    controls: "np.ndarray[Any, np.dtype[np.float64]]", rows: "np.ndarray[Any, np.dtype[np.float64]]"
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """To the fifth nearest control."""
    nearest: np.ndarray[Any, np.dtype[np.float64]] = (
        NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(controls).kneighbors(rows)[0]
    )
    return nearest[:, -1]


def is_embedded_kind(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a model has the size and the words of the embedded start model, which the shipped calibration is of."""
    shipped = ModelIdentity.of(load_model(EMBEDDED), load_tokenizer(EMBEDDED))
    found = ModelIdentity.of(model, tokenizer)
    return (found.config, found.tokenizer) == (shipped.config, shipped.tokenizer)
