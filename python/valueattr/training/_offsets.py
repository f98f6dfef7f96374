"""Where each sampled token lies in the decoded response.

Offsets come from decoding the sampled ids as a stream. Encoding the decoded text again would give other ids: many id
sequences decode to the same text, and a policy samples all of them.
"""

from collections.abc import Sequence

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]


def streamed_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The decoded text and, per id, its characters (end exclusive).

    Ids that make up one character together all get that character; special tokens, and byte pieces at a truncated
    end that complete no character, get an empty span at their place.
    """
    special = set(tokenizer.all_special_ids)
    backend = tokenizer.backend_tokenizer
    stream = DecodeStream(skip_special_tokens=True)
    text = ""
    spans: list[Span] = [(0, 0)] * len(ids)
    waiting: list[int] = []
    for i, token in enumerate(ids):
        spans[i] = (len(text), len(text))
        if token in special:
            continue
        waiting.append(i)
        piece = stream.step(backend, token)
        if piece is None:
            continue
        for j in waiting:
            spans[j] = (len(text), len(text) + len(piece))
        waiting.clear()
        text += piece
    for j in waiting:
        spans[j] = (len(text), len(text))
    return text, spans


def tokens_in_spans(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """Per token, whether it overlaps one of the spans; empty tokens overlap none."""
    return [any(max(a, start) < min(b, end) for start, end in spans) for a, b in offsets]
