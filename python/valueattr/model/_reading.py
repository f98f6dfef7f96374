"""Log probabilities, from one forward pass that every measure and loss shares.

Rows are padded on the left and their positions count from their first token. Only the positions that are asked for go
through the vocabulary, and the softmax is taken in float32.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model._loading import position_ids

ROWS_PER_BATCH = 256


def token_distributions(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int, temperature: float = 1.0
) -> torch.Tensor:
    """Log probabilities over the vocabulary at each of a row's last tokens, given all that stands before it.

    `ids` and `mask` are (rows, width); the result is (rows, tokens, vocabulary) in float32, in nats. Gradients flow.
    """
    logits = _logits(model, ids, mask, tokens + 1)[:, :-1]
    return torch.log_softmax(logits if temperature == 1 else logits / temperature, -1)


def closed_set_log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    candidates: Sequence[Sequence[str]],
) -> list[NDArray[np.float64]]:
    """Log P(candidate | text) in nats for each text and each of its candidates, summed over their tokens.

    Texts are asked once each where every candidate is one token, else once per candidate.
    """
    prefixes = [tokenizer(text)["input_ids"] for text in texts]
    continued = {
        value: tokenizer(f" {value}", add_special_tokens=False)["input_ids"] for value in _flat(candidates)
    }
    single = [all(len(continued[value]) == 1 for value in values) for values in candidates]
    asked = [i for i, one in enumerate(single) if one]
    result: list[NDArray[np.float64]] = [np.zeros(len(values)) for values in candidates]
    found = _next_token_log_probs(
        model,
        tokenizer,
        [prefixes[i] for i in asked],
        [[continued[value][0] for value in candidates[i]] for i in asked],
    )
    for i, log_p in zip(asked, found, strict=True):
        result[i] = log_p
    rest = [(i, j, value) for i, one in enumerate(single) if not one for j, value in enumerate(candidates[i])]
    sums = _continuation_log_probs(
        model, tokenizer, [(prefixes[i], continued[value]) for i, _, value in rest]
    )
    for (i, j, _), total in zip(rest, sums, strict=True):
        result[i][j] = total
    return result


@torch.no_grad()
def log_p_per_token(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> NDArray[np.float64]:
    """Mean log probability of each text's tokens but its first, in nats, shape (len(texts),)."""
    result = np.zeros(len(texts))
    for rows, ids, mask in _batches(model, tokenizer, tokenizer(list(texts))["input_ids"]):
        log_p = _log_probs_of(model, ids, mask, ids.shape[1] - 1)
        scored = mask[:, :-1] * mask[:, 1:]
        means = (log_p * scored).sum(1) / scored.sum(1).clamp(min=1)
        result[rows] = means.double().cpu().numpy()
    return result


def _logits(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, last: int) -> torch.Tensor:
    """What the model says of the token after each of the last ones, (rows, last, vocabulary) in float32."""
    positions = position_ids(model, mask)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, logits_to_keep=last, **positions).logits
    return logits.float()


def _log_probs_of(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """Log probabilities of the last tokens themselves, shape (rows, tokens)."""
    of_all = token_distributions(model, ids, mask, tokens)
    return of_all.gather(-1, ids[:, ids.shape[1] - tokens :, None]).squeeze(-1)


@torch.no_grad()
def _next_token_log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[list[int]],
    tokens: Sequence[list[int]],
) -> list[NDArray[np.float64]]:
    """Log probabilities of some tokens as the next one of each sequence."""
    result: list[NDArray[np.float64]] = [np.empty(0)] * len(sequences)
    for rows, ids, mask in _batches(model, tokenizer, sequences):
        of_all = torch.log_softmax(_logits(model, ids, mask, 1)[:, -1], -1)
        for i, log_p in zip(rows, of_all, strict=True):
            result[i] = log_p[tokens[i]].double().cpu().numpy()
    return result


@torch.no_grad()
def _continuation_log_probs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[list[int], list[int]]]
) -> list[float]:
    """Log probabilities of the second part of each pair after the first, summed over its tokens."""
    result = [0.0] * len(pairs)
    for rows, ids, mask in _batches(model, tokenizer, [prefix + more for prefix, more in pairs]):
        longest = max(len(pairs[i][1]) for i in rows)
        log_p = _log_probs_of(model, ids, mask, longest).double().cpu()
        for row, i in enumerate(rows):
            result[i] = float(log_p[row, longest - len(pairs[i][1]) :].sum())
    return result


def _flat(candidates: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(value for values in candidates for value in values))


def _batches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sequences: Sequence[list[int]]
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Sequences of similar length together: which they are, their ids and their mask, (rows, longest)."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for start in range(0, len(order), ROWS_PER_BATCH):
        rows = order[start : start + ROWS_PER_BATCH]
        yield rows, *_padded_left(tokenizer, [sequences[i] for i in rows], model.device)


def _padded_left(
    tokenizer: PreTrainedTokenizerBase, sequences: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, shape (rows, longest), padded on the left."""
    width = max(len(ids) for ids in sequences)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in sequences], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in sequences], device=device)
    return ids, mask
