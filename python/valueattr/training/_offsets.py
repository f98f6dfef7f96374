"""Where each sampled token lies in the decoded response.

Offsets come from decoding the sampled ids as a stream. Encoding the decoded text again would give other ids: many id
sequences decode to the same text, and a policy samples all of them.
"""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]

_UNDECODED = "\ufffd"


def streamed_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The decoded text and, per id, its characters (end exclusive).

    Ids that make up one character together all get that character; special tokens, and byte pieces at a truncated
    end that complete no character, get an empty span at their place.
    """
    special = set(tokenizer.all_special_ids)
    kept = [i for i, token in enumerate(ids) if token not in special]
    sampled = [ids[i] for i in kept]
    try:
        pieces = list(_stream(tokenizer.backend_tokenizer, sampled))
    except Exception:  # the stream gives up on bytes that are no UTF-8, as a policy may sample them
        pieces = list(_decode_prefixes(tokenizer.backend_tokenizer, sampled))
    text = "".join(pieces)
    spans: list[Span] = [(0, 0)] * len(ids)
    waiting: list[int] = []
    end = 0
    for i, piece in zip(kept, pieces, strict=True):
        waiting.append(i)
        if piece:
            for j in waiting:
                spans[j] = (end, end + len(piece))
            waiting.clear()
            end += len(piece)
    for j in waiting:
        spans[j] = (end, end)
    return text, _place_empty(spans)


def _stream(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[str]:
    """The text that each id adds, empty where it completes no character."""
    stream = DecodeStream(skip_special_tokens=True)
    for token in ids:
        yield stream.step(tokenizer, token) or ""


def _decode_prefixes(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[str]:
    """The same from decoding every prefix: quadratic, but sure of any bytes."""
    whole = tokenizer.decode(list(ids)).rstrip(_UNDECODED)
    end = 0
    for i in range(len(ids)):
        sure = tokenizer.decode(list(ids[: i + 1])).rstrip(_UNDECODED)
        agreed = next(
            (k for k, (a, b) in enumerate(zip(sure, whole, strict=False)) if a != b),
            min(len(sure), len(whole)),
        )
        reached = max(end, agreed)
        yield whole[end:reached]
        end = reached


def _place_empty(spans: list[Span]) -> list[Span]:
    """Special tokens' empty spans moved to where the text before them ends."""
    end = 0
    placed = []
    for a, b in spans:
        placed.append((a, b) if a < b else (end, end))
        end = max(end, b)
    return placed


def tokens_in_spans(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """Per token, whether it overlaps one of the spans; empty tokens overlap none."""
    return [any(max(a, start) < min(b, end) for start, end in spans) for a, b in offsets]
