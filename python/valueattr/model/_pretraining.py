"""Training a language model on documents: for the start model from nothing, for a model of one's own from what it is."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model._lora import trainable

Progress = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the mean loss in nats per token."""


def rate_for(model: PreTrainedModel, rate: float) -> float:
    """The learning rate for a model of this size, from that of one of a million parameters: by the square root of the size."""
    parameters: int = model.num_parameters()
    return rate * float((1e6 / parameters) ** 0.5)


def text_digest(texts: Iterable[str]) -> str:
    """SHA-256 over texts and where each ends."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def packed(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], width: int) -> torch.Tensor:
    """Documents one after the other, each ended by the end-of-text token, cut into rows of `width` tokens (rows, width)."""
    encoded = tokenizer(list(texts), return_attention_mask=False)["input_ids"]
    ids = np.concatenate([np.array([*row, tokenizer.eos_token_id], dtype=np.int64) for row in encoded])
    return torch.from_numpy(ids[: len(ids) // width * width].reshape(-1, width))


def pretrain(
    model: PreTrainedModel,
    rows: torch.Tensor,
    *,
    rows_per_step: int,
    learning_rate: float,
    warmup_steps: int,
    progress: Progress | None = None,
) -> int:
    """Train in place on every row once, in order: AdamW, a warm-up and a cosine to 2% of the rate. The number of steps."""
    steps = len(rows) // rows_per_step
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        fused=True,  # the other kernels take roots that processors round in different ways
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _warmup_and_cosine(step, steps, warmup_steps)
    )
    smoothed = 0.0
    for step in range(steps):
        batch = rows[step * rows_per_step : (step + 1) * rows_per_step].to(model.device)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        smoothed = loss.item() if step == 0 else smoothed + 0.05 * (loss.item() - smoothed)
        if progress:
            progress(step + 1, steps, smoothed)
    model.eval()
    return steps


def continue_training(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    steps: int,
    learning_rate: float,
    lora_rank: int | None = None,
    row_tokens: int = 64,
) -> None:
    """Train in place on texts once, in so many steps of equal size.

    lora_rank: of an adapter that is trained in place of whole weights. learning_rate: its peak; of whole weights that of a
    model of a million parameters, which falls with the root of the size.
    """
    rows = packed(tokenizer, texts, row_tokens)
    rate = learning_rate if lora_rank else rate_for(model, learning_rate)
    with trainable(model, lora_rank) as policy:
        pretrain(
            policy,
            rows,
            rows_per_step=max(1, len(rows) // steps),
            learning_rate=rate,
            warmup_steps=max(1, steps // 8),
        )


def _warmup_and_cosine(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
