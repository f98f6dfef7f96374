"""The JSON files of a run directory: what is expected in them, and what to do where it is not there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError


class SealedPlan(BaseModel):
    """plan.json: the plan, and the SHA-256 of its canonical JSON when it was sealed."""

    plan: dict[str, Any]
    sha256: str


class Config(BaseModel):
    """config.json: what the run was started with."""

    started_with_seeds: list[int] | None = None


class Environment(BaseModel):
    """environment.json: where the run was made, its finished seeds, and where the time went in seconds."""

    machine: str
    device: str
    python: str
    versions: dict[str, str]
    timing: dict[str, float]
    seeds: list[int] = []


class StartModel(BaseModel):
    """start_model.json: where the start model lies, the SHA-256 of its weights, and what a model of the user's own knew.

    others: the SHA-256 of those that seeds from 1 on begin with, where there are several.
    known_before, known_after: shares of taught facts. Of one that was taught no fact, its topics, and numbers of their
    facts: strictly_known_before and strictly_known_after the styles, no_longer_known and newly_known.
    """

    path: str
    sha256: str
    others: list[str] = []
    known_before: float | None = None
    known_after: float | None = None
    topics: list[str] | None = None
    strictly_known_before: int | None = None
    strictly_known_after: int | None = None
    no_longer_known: int | None = None
    newly_known: int | None = None


_MADE_ANEW = "remove it and run the experiment again, which writes it anew and keeps finished arms"

_EXPECTED: Mapping[str, tuple[type[BaseModel], str]] = {
    "plan.json": (SealedPlan, "put the sealed file back, or choose another directory"),
    "config.json": (
        Config,
        'write the seeds that the run was started with to it, as {"started_with_seeds": [0, 1, 2]}',
    ),
    "environment.json": (Environment, _MADE_ANEW),
    "start_model.json": (StartModel, _MADE_ANEW),
}


class DamagedFileError(ValueError):
    """A JSON file that is not what was written; the message names it and what to do."""


def read_json(path: Path) -> dict[str, Any]:
    """The values of one of a run's JSON files; what it holds beyond what is expected is kept.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it cannot be read as JSON, or lacks something.
    """
    expected, remedy = _EXPECTED[path.name]
    try:
        value = json.loads(path.read_text("utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # half characters could not be printed
        expected.model_validate(value)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        found = f"{place}: {first['msg']}" if place else first["msg"]
        raise DamagedFileError(f"{path} is damaged ({found}): {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not readable as JSON ({error}): {remedy}") from None
    values: dict[str, Any] = value
    return values
