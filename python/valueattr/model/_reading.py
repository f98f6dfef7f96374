"""Log probabilities, from one forward pass that every measure and loss shares.

Rows are padded on the left and their positions count from their first token. Only the positions that are asked for go
through the vocabulary, and the softmax is taken in float32.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from valueattr.activations import TokenLimits
from valueattr.model._errors import ModelError
from valueattr.model._loading import accepts, position_ids

ROWS_PER_BATCH = 256

# Rows of which log probabilities over a large vocabulary are there at every token at once.
_ROWS_OF_LARGE_VOCABULARY = 64
_LARGE_VOCABULARY = 8192

# A beginning of so many tokens, such as a chat template's, is read once for all texts that share it.
_LONG_BEGINNING = 16

# Caches of which rows can be taken and read on from, several tokens at once.
_KEYS_AND_VALUES = (DynamicLayer, DynamicSlidingWindowLayer)


def token_distributions(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int, temperature: float = 1.0
) -> torch.Tensor:
    """Log probabilities over the vocabulary at each of a row's last tokens, given all that stands before it.

    `ids` and `mask` are (rows, width); the result is (rows, tokens, vocabulary) in float32, in nats. Gradients flow.
    """
    logits = _logits(model, ids, mask, tokens + 1)[:, :-1]
    return torch.log_softmax(logits if temperature == 1 else logits / temperature, -1)


def answer_inputs(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int
) -> dict[str, Any] | None:
    """What a model has to be given to say each of the last tokens of rows, with every distinct prompt read once.

    `ids` and `mask` are (rows, width), prompts padded on the left to one width, answers on the right. The inputs are the
    last token of each prompt and all of the answer but its last, (rows, tokens), after the keys and values of what stands
    before. Gradients flow through these. None where the model keeps other things than keys and values, or where nothing
    stands before.
    """
    before = ids.shape[1] - tokens - 1
    if before < 1:
        return None
    output, rows = read_once(model, ids[:, :before], mask[:, :before])
    cache = rows_of(output.get(cache_name(model)), rows)
    if cache is None:
        return None
    seen = mask[:, :-1]
    places = {name: of_all[:, before:] for name, of_all in position_ids(model, seen).items()}
    return {"input_ids": ids[:, before:-1], "attention_mask": seen, cache_name(model): cache, **places}


def read_once(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """One reading of every distinct row, with its keys and values, and which of them each row is, (rows,)."""
    number: dict[tuple[int, ...], int] = {}
    rows = [number.setdefault(tuple(row), len(number)) for row in torch.cat([ids, mask], dim=1).tolist()]
    first = [rows.index(i) for i in number.values()]
    output = model(
        input_ids=ids[first],
        attention_mask=mask[first],
        use_cache=True,
        logits_to_keep=1,
        **position_ids(model, mask[first]),
    )
    return output, torch.tensor(rows, device=ids.device)


class ClosedSetScores(NamedTuple):
    """The candidates of one text: log P(candidate | text) in nats, and in how many tokens each is written, (n,) both."""

    log_p: NDArray[np.float64]
    tokens: NDArray[np.int64]


@torch.no_grad()
def closed_set_log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> list[ClosedSetScores]:
    """How likely each text goes on with each of its candidates, which stand after a space.

    Text and candidate are tokenised together, since some tokenizers write a word at the start of a text otherwise than
    after another word. A candidate's score is summed over the tokens that follow what all of a text's candidates and the
    text itself share.

    Where the tokens of one candidate begin those of another (Guinea, Guinea-Bissau), the shorter one is held to end there:
    its score is the probability of its tokens times that of not going on to a longer candidate. So each continuation
    counts for the longest candidate that it begins with, whatever punctuation a model prefers after it, and candidates of
    which none begins another are scored as they are.

    Every text is read once, and its keys and values serve all of its candidates; a model that keeps none (a recurrent one)
    reads the text again before each.

    Raises:
        ModelError: a text with a candidate is longer than the model's context, or of tokens that it lacks.
    """
    if not texts:
        return []
    parted = _parted(tokenizer, texts, candidates)
    _check_limits(model, texts, [prefix + max(added, key=len, default=[]) for prefix, added in parted])
    found: list[list[NDArray[np.float64]]] = [[] for _ in texts]
    prefixes = [prefix for prefix, _ in parted]
    for rows in _of_like_length(prefixes, ROWS_PER_BATCH):
        of_rows = _after_prefixes(model, tokenizer, [prefixes[i] for i in rows], [parted[i][1] for i in rows])
        for i, scores in zip(rows, of_rows, strict=True):
            found[i] = scores
    return [
        ClosedSetScores(_each_ending(continuations, scores), np.array([len(ids) for ids in continuations]))
        for (_, continuations), scores in zip(parted, found, strict=True)
    ]


@torch.no_grad()
def log_p_per_token(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> NDArray[np.float64]:
    """Mean log probability of each text's tokens but its first, in nats, shape (len(texts),).

    Raises:
        ModelError: a text is longer than the model's context, or of tokens that it lacks.
    """
    result = np.zeros(len(texts))
    sequences = tokenizer(list(texts), verbose=False)["input_ids"]
    _check_limits(model, texts, sequences)
    for rows, ids, mask in _batches(model, tokenizer, sequences, _rows_for(model)):
        log_p = _log_probs_of(model, ids, mask, ids.shape[1] - 1)
        scored = mask[:, :-1] * mask[:, 1:]
        means = (log_p * scored).sum(1) / scored.sum(1).clamp(min=1)
        result[rows] = means.double().cpu().numpy()
    return result


@torch.no_grad()
def log_p_of_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    answers: Sequence[str],
) -> NDArray[np.float64]:
    """Mean log probability of the tokens of each answer after its prompt, in nats, shape (len(answers),).

    An answer without a token gets minus infinity.
    """
    result = np.full(len(answers), -np.inf)
    asked = tokenizer(list(prompts))["input_ids"]
    told = tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    some = [i for i, ids in enumerate(told) if ids]
    for places, ids, mask in _batches(model, tokenizer, [asked[i] + told[i] for i in some], _rows_for(model)):
        lengths = torch.tensor([len(told[some[place]]) for place in places], device=ids.device)
        tokens = int(lengths.max())
        log_p = _log_probs_of(model, ids, mask, tokens)
        own = torch.arange(tokens, device=ids.device) >= tokens - lengths[:, None]
        means = (log_p * own).sum(1) / lengths
        result[[some[place] for place in places]] = means.double().cpu().numpy()
    return result


def _rows_for(model: PreTrainedModel) -> int:
    """Rows of which every token goes through the vocabulary, at once."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    return ROWS_PER_BATCH if vocabulary <= _LARGE_VOCABULARY else _ROWS_OF_LARGE_VOCABULARY


def _check_limits(model: PreTrainedModel, texts: Sequence[str], sequences: Sequence[list[int]]) -> None:
    limits = TokenLimits.of(model)
    for i, (text, ids) in enumerate(zip(texts, sequences, strict=True)):
        if complaint := limits.complaint(ids):
            beginning = text if len(text) <= 60 else f"{text[:60]}..."
            raise ModelError(f"text {i} {complaint}: {beginning!r}")


def _logits(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, last: int) -> torch.Tensor:
    """What the model says of the token after each of the last ones, (rows, last, vocabulary) in float32."""
    positions = position_ids(model, mask)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, logits_to_keep=last, **positions).logits
    return logits.float()


def _log_probs_of(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """Log probabilities of the last tokens themselves, shape (rows, tokens)."""
    of_all = token_distributions(model, ids, mask, tokens)
    return of_all.gather(-1, ids[:, ids.shape[1] - tokens :, None]).squeeze(-1)


def _parted(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], candidates: Sequence[Sequence[str]]
) -> list[tuple[list[int], list[list[int]]]]:
    """For each text the tokens that it shares with all of its candidates, and what each candidate adds to them."""
    whole = [
        [text, *(f"{text} {value}" for value in values)]
        for text, values in zip(texts, candidates, strict=True)
    ]
    # Without offsets, which would take most of the time.
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    encoded = iter(backend.encode_batch_fast([text for of_text in whole for text in of_text]))
    result = []
    for of_text in whole:
        alone, *together = (next(encoded).ids for _ in of_text)
        shared = _shared([alone, *(ids[:-1] for ids in together)])
        result.append((alone[:shared], [ids[shared:] for ids in together]))
    return result


def _shared(sequences: Sequence[list[int]]) -> int:
    """How many tokens sequences have in common from their beginning on."""
    columns = enumerate(zip(*sequences, strict=False))
    return next((i for i, tokens in columns if len(set(tokens)) > 1), min(map(len, sequences)))


def _each_ending(
    continuations: Sequence[list[int]], scores: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Log probability of each candidate as the longest that its text goes on with, from those of its tokens."""
    numbers = {tuple(ids): k for k, ids in enumerate(continuations)}
    going_on = np.zeros(len(scores))
    for ids, score in zip(continuations, scores, strict=True):
        begun = [n for n in range(1, len(ids)) if tuple(ids[:n]) in numbers]
        if begun:
            going_on[numbers[tuple(ids[: begun[-1]])]] += np.exp(score[begun[-1] :].sum())
    # The complement is no finer than the model's float32.
    ending = np.log1p(-np.minimum(going_on, 1 - np.finfo(np.float32).eps))
    return np.array([score.sum() for score in scores]) + ending


def _after_prefixes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefixes: Sequence[list[int]],
    continuations: Sequence[Sequence[list[int]]],
) -> list[list[NDArray[np.float64]]]:
    """Log probabilities of the tokens of each prefix's continuations."""
    heads = [
        (row, head, begun)
        for row, of_row in enumerate(continuations)
        for head, begun in _heads(of_row).items()
    ]
    heads.sort(key=lambda found: len(found[1]))
    ids, mask, logits, cache = _read_prefixes(model, tokenizer, prefixes, use_cache=bool(heads))
    next_token = torch.log_softmax(logits, -1)
    first = [
        log_p[[more[0] for more in of_row]].double().cpu().numpy()
        for log_p, of_row in zip(next_token, continuations, strict=True)
    ]
    result = [[of_row[k : k + 1] for k in range(len(of_row))] for of_row in first]
    at_once = _rows_for(model)
    for start in range(0, len(heads), at_once):
        part = heads[start : start + at_once]
        rows = torch.tensor([row for row, _, _ in part], device=ids.device)
        after = _after_heads(
            model, tokenizer, ids[rows], mask[rows], rows_of(cache, rows), [head for _, head, _ in part]
        )
        wanted = [
            (at, place, token, row, k)
            for at, (row, _, begun) in enumerate(part)
            for k in begun
            for place, token in enumerate(continuations[row][k][1:])
        ]
        where = torch.tensor([spot[:3] for spot in wanted], device=ids.device).unbind(1)
        found: dict[tuple[int, int], list[float]] = defaultdict(list)
        for (_, _, _, row, k), log_p in zip(wanted, after[where].double().tolist(), strict=True):
            found[row, k].append(log_p)
        for (row, k), rest in found.items():
            result[row][k] = np.concatenate([result[row][k], rest])
    return result


def _read_prefixes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefixes: Sequence[list[int]],
    use_cache: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, DynamicCache | None]:
    """The prefixes' ids and mask, (rows, width), logits of the token after each, (rows, vocabulary), and keys and values.

    A long beginning that all share is read once, and the padding then stands after it.
    """
    begun = _shared([prefix[:-1] for prefix in prefixes])
    beginning = None
    if begun >= _LONG_BEGINNING and len(prefixes) > 1:
        beginning = _beginning(model, prefixes[0][:begun], len(prefixes))
    if beginning is None:
        begun = 0
    ids, mask = padded_left(tokenizer, [prefix[begun:] for prefix in prefixes], model.device)
    shared = torch.tensor([prefix[:begun] for prefix in prefixes], dtype=ids.dtype, device=ids.device)
    ids, mask = torch.cat([shared, ids], dim=1), torch.cat([torch.ones_like(shared), mask], dim=1)
    places = {name: of_all[:, begun:] for name, of_all in position_ids(model, mask).items()}
    read = {} if beginning is None else {cache_name(model): beginning}
    output = model(
        input_ids=ids[:, begun:], attention_mask=mask, logits_to_keep=1, use_cache=use_cache, **read, **places
    )
    return ids, mask, output.logits[:, -1].float(), getattr(output, cache_name(model), None)


def _beginning(model: PreTrainedModel, beginning: list[int], rows: int) -> DynamicCache | None:
    """Keys and values of a beginning, for as many rows.

    None where padding may not stand after it: a recurrent model would read it, and a sliding window would count it.
    """
    ids = torch.tensor([beginning], device=model.device)
    cache = getattr(model(input_ids=ids, use_cache=True, logits_to_keep=1), cache_name(model), None)
    if cache is None or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    return rows_of(cache, torch.zeros(rows, dtype=torch.long, device=model.device))


def _heads(continuations: Sequence[list[int]]) -> dict[tuple[int, ...], list[int]]:
    """What must be read to score continuations of several tokens, and which of them each serves.

    A head is a continuation but its last token; one that begins another is read with it.
    """
    numbers: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for k, more in enumerate(continuations):
        if len(more) > 1:
            numbers[tuple(more[:-1])].append(k)
    heads: dict[tuple[int, ...], list[int]] = {}
    longer: tuple[int, ...] = ()
    for head in sorted(numbers, reverse=True):  # after all that it begins
        if longer[: len(head)] != head:
            longer = head
        heads.setdefault(longer, []).extend(numbers[head])
    return heads


def _after_heads(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: DynamicCache | None,
    heads: Sequence[tuple[int, ...]],
) -> torch.Tensor:
    """Log probabilities of what follows each token of a head after its row, (rows, longest head, vocabulary)."""
    width = max(map(len, heads))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    inputs = torch.tensor([[*head, *[pad] * (width - len(head))] for head in heads], device=ids.device)
    read = torch.tensor([[1] * len(head) + [0] * (width - len(head)) for head in heads], device=ids.device)
    mask = torch.cat([mask, read], dim=1)
    positions = position_ids(model, mask)
    if cache is None:
        seen = {"input_ids": torch.cat([ids, inputs], dim=1)}
    else:
        seen = {"input_ids": inputs, cache_name(model): cache}
        positions = {name: of_all[:, -width:] for name, of_all in positions.items()}
    logits = model(attention_mask=mask, logits_to_keep=width, **seen, **positions).logits.float()
    return torch.log_softmax(logits, -1)


def cache_name(model: PreTrainedModel) -> str:
    """What the model calls its keys and values: transformers 5.24 renamed them, with a warning for the old name."""
    return "cache" if accepts(model, "cache") else "past_key_values"


def rows_of(cache: DynamicCache | None, rows: torch.Tensor) -> DynamicCache | None:
    """Keys and values of some rows, which may come up more than once; None where the model keeps other things."""
    if cache is None or any(type(layer) not in _KEYS_AND_VALUES for layer in cache.layers):
        return None
    chosen = copy(cache)
    chosen.layers = [copy(layer) for layer in cache.layers]
    chosen.batch_select_indices(rows)
    return chosen


def _batches(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[list[int]],
    at_once: int = ROWS_PER_BATCH,
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Sequences of similar length together: which they are, their ids and their mask, (rows, longest)."""
    for rows in _of_like_length(sequences, at_once):
        yield rows, *padded_left(tokenizer, [sequences[i] for i in rows], model.device)


def _of_like_length(sequences: Sequence[list[int]], at_once: int) -> Iterator[list[int]]:
    """Which sequences to read together."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for start in range(0, len(order), at_once):
        yield order[start : start + at_once]


def padded_left(
    tokenizer: PreTrainedTokenizerBase, sequences: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, shape (rows, longest), padded on the left."""
    width = max(len(ids) for ids in sequences)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in sequences], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in sequences], device=device)
    return ids, mask
