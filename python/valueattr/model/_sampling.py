"""Sampling responses for measurement, from a generator of its own: training's random state stays untouched."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model._loading import position_ids
from valueattr.model._reading import cache_name, padded_left, read_once, rows_of

# Twice as fast on a small model as 2,000 rows at once.
_ROWS_AT_ONCE = 256

# So that the seeds of batches meet no other seed.
_APART = 1_000_003

Draw = Callable[[torch.Tensor], torch.Tensor]
"""A token for each row of probabilities over the vocabulary, (rows, vocabulary) to (rows,)."""


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode (no dropout), and then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a response: the tokenizer's, and those that the model's own configuration of generation names."""
    named = model.generation_config.eos_token_id if model.generation_config else None
    more = named if isinstance(named, list) else [named]
    return list(dict.fromkeys([tokenizer.eos_token_id, *(token for token in more if token is not None)]))


@torch.no_grad()
def sample_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One response per prompt over the whole vocabulary.

    Returns prompt and response ids (rows, prompt + response), their attention mask, and the mask of response tokens
    (rows, response), which ends with the first end-of-text token.
    """
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(
        model.device
    )
    settings = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end_tokens(model, tokenizer),
    )
    own_state = torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else [])
    with evaluating(model), own_state:
        torch.manual_seed(seed)
        ids = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            generation_config=settings,
        )
    response = ids[:, encoded["input_ids"].shape[1] :]
    ends = torch.isin(response, torch.tensor(end_tokens(model, tokenizer), device=response.device)).long()
    kept = (ends.cumsum(1) - ends) == 0
    mask = torch.cat([encoded["attention_mask"], kept.long()], dim=1)
    return ids, mask, kept


@torch.no_grad()
def sample_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[str]:
    """A decoded response to each prompt, over the whole vocabulary.

    A prompt that comes up several times is read once, and a response that has ended takes no more time.
    """
    decoded: list[str] = []
    for start in range(0, len(prompts), _ROWS_AT_ONCE):
        batch = prompts[start : start + _ROWS_AT_ONCE]
        at = seed + _APART * start
        read, ends = tokenizer(batch)["input_ids"], end_tokens(model, tokenizer)
        draw = _multinomial(torch.Generator(model.device).manual_seed(at))
        rows = sample_answers(model, tokenizer, read, ends, max_new_tokens, draw, temperature)
        if rows is None:  # the model keeps other things than keys and values
            ids, _, kept = sample_ids(model, tokenizer, batch, max_new_tokens, at, temperature)
            answers = ids[:, ids.shape[1] - kept.shape[1] :]
            rows = [row[keep].tolist() for row, keep in zip(answers, kept, strict=True)]
        ended = [row[:-1] if row[-1] in ends else row for row in rows]
        decoded += tokenizer.batch_decode(ended, skip_special_tokens=True)
    return decoded


@torch.no_grad()
def sample_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    ends: Sequence[int],
    max_new_tokens: int,
    draw: Draw,
    temperature: float = 1.0,
) -> list[list[int]] | None:
    """The tokens of a response to each prompt of tokens, with the one of `ends` that ends it.

    A prompt that comes up several times is read once, and a response that has ended takes no more time. None where the
    model keeps other things than keys and values, which rows cannot share.
    """
    ids, mask = padded_left(tokenizer, prompts, model.device)
    stops = torch.tensor(ends, device=model.device)
    found: list[list[int]] = [[] for _ in prompts]
    open_rows = torch.arange(len(prompts))
    with evaluating(model):
        output, rows = read_once(model, ids, mask)
        cache, logits = rows_of(output.get(cache_name(model)), rows), output.logits[rows, -1]
        if cache is None:
            return None
        while True:
            logits = logits.float()
            tokens = draw((logits if temperature == 1 else logits / temperature).softmax(-1))
            for row, token in zip(open_rows.tolist(), tokens.tolist(), strict=True):
                found[row].append(token)
            going_on = (~torch.isin(tokens, stops)).nonzero().squeeze(1)
            if not len(going_on) or len(found[open_rows[0]]) == max_new_tokens:
                return found
            if len(going_on) < len(tokens):
                cache, mask, open_rows = rows_of(cache, going_on), mask[going_on], open_rows[going_on.cpu()]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            places = {name: of_all[:, -1:] for name, of_all in position_ids(model, mask).items()}
            seen = {"input_ids": tokens[going_on, None], cache_name(model): cache}
            output = model(attention_mask=mask, use_cache=True, logits_to_keep=1, **seen, **places)
            logits = output.logits[:, -1]


def _multinomial(generator: torch.Generator) -> Draw:
    """Draws by an exponential for every token of the vocabulary."""
    return lambda p: torch.multinomial(p, 1, generator=generator).squeeze(1)


def by_cumulation(generator: torch.Generator) -> Draw:
    """Draws by one number in a row: ten times as fast as `torch.multinomial` over 50,000 tokens, and other draws."""

    def draw(p: torch.Tensor) -> torch.Tensor:
        below = p.double().cumsum(-1)
        at = torch.rand(len(p), 1, generator=generator, dtype=torch.float64, device=p.device)
        return torch.searchsorted(below, at * below[:, -1:], right=True).squeeze(1)

    return draw
