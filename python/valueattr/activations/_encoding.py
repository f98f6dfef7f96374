"""Texts as tokens, and which of the tokens a capture keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from valueattr.activations._limits import TokenLimits
from valueattr.activations._shards import CaptureError, Selection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedText", "Position", "check_positions", "encoded_texts"]

Position = Literal["last", "all", "mean"] | Sequence[tuple[int, int]]

# Number of texts that are tokenised together.
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class EncodedText(Selection):
    """A text of a capture with its token ids."""

    ids: list[int]


def check_positions(texts: Sequence[str], positions: Position) -> None:
    """Check, before any model runs, that every text has the characters that are asked for.

    Raises:
        CaptureError: a text is empty, no text, or no Unicode, the positions are unknown, or a span is not in its text.
    """
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise CaptureError(f"text {i} is {type(text).__name__}, expected a text")
        if not text:
            raise CaptureError(f"text {i} is empty")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CaptureError(f"text {i} has half of a surrogate pair at character {error.start}") from None
    if isinstance(positions, str):
        if positions not in ("last", "all", "mean"):
            raise CaptureError(
                f"unknown positions {positions!r}; known: last, all, mean, or a span of characters for each text"
            )
        return
    if len(positions) != len(texts):
        raise CaptureError(f"there are {len(positions)} spans for {len(texts)} texts")
    for i, (start, end) in enumerate(positions):
        if not 0 <= start < end <= len(texts[i]):
            raise _outside(i, texts[i], start, end)


def encoded_texts(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    positions: Position,
    first: int,
    limits: TokenLimits,
) -> Iterator[EncodedText]:
    """The texts from number `first` on.

    Raises:
        CaptureError: a text has no token, more or others than the model can read, or its span overlaps none.
    """
    spans = None if isinstance(positions, str) else positions
    for start in range(first, len(texts), _TEXTS_AT_ONCE):
        chunk = list(texts[start : start + _TEXTS_AT_ONCE])
        # What is too long is an error of ours; the tokenizer would only warn.
        encoded = tokenizer(chunk, return_offsets_mapping=spans is not None, verbose=False)
        for i, ids in enumerate(encoded["input_ids"], start):
            if not ids:
                raise CaptureError(f"text {i} is empty: it has no token")
            if complaint := limits.complaint(ids):
                raise CaptureError(f"text {i} {complaint}: {_beginning(texts[i])}")
            tokens: range | None = range(len(ids) - 1, len(ids))
            if spans is not None:
                last = _last_token(encoded["offset_mapping"][i - start], *spans[i])
                if last is None:
                    raise _outside(i, texts[i], *spans[i])
                tokens = range(last, last + 1)
            elif positions != "last":
                tokens = range(len(ids)) if positions == "all" else None
            yield EncodedText(i, tokens, ids)


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _outside(i: int, text: str, start: int, end: int) -> CaptureError:
    return CaptureError(f"text {i} has {len(text)} characters; the span {start} to {end} is not in it")


def _last_token(offsets: Sequence[tuple[int, int]], start: int, end: int) -> int | None:
    """The last token that overlaps a span of characters."""
    return next(
        (k for k in reversed(range(len(offsets))) if max(offsets[k][0], start) < min(offsets[k][1], end)),
        None,
    )
