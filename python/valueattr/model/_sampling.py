"""Sampling responses for measurement, from a generator of its own: training's random state stays untouched."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


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
    """One response per prompt at temperature 1 over the whole vocabulary.

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


def sample_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    seed: int,
) -> list[str]:
    """The decoded responses of `sample_ids`, in batches that stay in the processor's cache."""
    decoded: list[str] = []
    for start in range(0, len(prompts), _ROWS_AT_ONCE):
        batch = prompts[start : start + _ROWS_AT_ONCE]
        ids, _, kept = sample_ids(model, tokenizer, batch, max_new_tokens, seed + _APART * start)
        responses = ids[:, ids.shape[1] - kept.shape[1] :]
        rows = [row[keep].tolist() for row, keep in zip(responses, kept, strict=True)]
        decoded += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return decoded
