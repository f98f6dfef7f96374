"""Sampling responses for measurement, from a generator of its own: training's random state stays untouched."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model._loading import position_ids
from valueattr.model._reading import cache_name, rows_of

# Twice as fast on a small model as 2,000 rows at once.
_ROWS_AT_ONCE = 256

# So that the seeds of batches meet no other seed.
_APART = 1_000_003


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode (no dropout), and then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


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
        eos_token_id=tokenizer.eos_token_id,
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
    ended = (response == tokenizer.eos_token_id).long().cumsum(1)
    kept = (ended - (response == tokenizer.eos_token_id).long()) == 0
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
        with evaluating(model):
            rows = _responses(model, tokenizer, batch, max_new_tokens, seed + _APART * start, temperature)
        decoded += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return decoded


def _responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    seed: int,
    temperature: float,
) -> list[list[int]]:
    """The tokens of a response to each prompt, without the one that ends it."""
    number = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    read = tokenizer(list(number), return_tensors="pt", padding=True, padding_side="left").to(model.device)
    mask = read["attention_mask"]
    output = model(
        input_ids=read["input_ids"],
        attention_mask=mask,
        use_cache=True,
        logits_to_keep=1,
        **position_ids(model, mask),
    )
    rows = torch.tensor([number[prompt] for prompt in prompts], device=model.device)
    cache = rows_of(getattr(output, cache_name(model), None), rows)
    if cache is None:  # the model keeps other things than keys and values
        ids, _, kept = sample_ids(model, tokenizer, prompts, max_new_tokens, seed, temperature)
        responses = ids[:, ids.shape[1] - kept.shape[1] :]
        return [row[keep].tolist() for row, keep in zip(responses, kept, strict=True)]
    generator = torch.Generator(model.device).manual_seed(seed)
    found: list[list[int]] = [[] for _ in prompts]
    open_rows, mask, logits = torch.arange(len(prompts)), mask[rows], output.logits[rows, -1]
    while True:
        chances = (logits.float() / temperature).softmax(-1)
        tokens = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        going_on = (tokens != tokenizer.eos_token_id).nonzero().squeeze(1)
        if len(going_on) < len(tokens):
            cache, mask, open_rows = rows_of(cache, going_on), mask[going_on], open_rows[going_on.cpu()]
        tokens = tokens[going_on]
        for row, token in zip(open_rows.tolist(), tokens.tolist(), strict=True):
            found[row].append(token)
        if not len(tokens) or len(found[open_rows[0]]) == max_new_tokens:
            return found
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        places = {name: of_all[:, -1:] for name, of_all in position_ids(model, mask).items()}
        seen = {"input_ids": tokens[:, None], cache_name(model): cache}
        logits = model(attention_mask=mask, use_cache=True, logits_to_keep=1, **seen, **places).logits[:, -1]
