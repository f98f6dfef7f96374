"""Log probabilities of sampled answers, with each group's prompt read once and no logits over the vocabulary kept."""

from typing import Any

import torch
from transformers import PreTrainedModel

from valueattr.model import answer_inputs, evaluating

# Tokens of which the logits are there at once: 25 MB of float32 over a vocabulary of 50,000.
_TOKENS_AT_ONCE = 128


def answer_log_probs(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Log probability of each of the last tokens of rows, and the entropy there, both (rows, tokens) in float32, in nats.

    `ids` and `mask` are (rows, width); masked tokens get 0, as TRL gives them. Gradients flow through the log
    probabilities. None where rows cannot share what they have read (`answer_inputs`).
    """
    inputs = answer_inputs(model, ids, mask, tokens)
    if inputs is None:
        return None
    kept = mask[:, -tokens:].bool()
    hidden = model.base_model(**inputs).last_hidden_state[kept]
    head = model.get_output_embeddings()
    device = ids.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    found = _OfTargets.apply(
        hidden.to(kind), head.weight.detach().to(kind), ids[:, -tokens:][kept], temperature
    )
    log_p, entropy = (
        hidden.new_zeros(kept.shape, dtype=torch.float32).masked_scatter(kept, x) for x in found
    )
    return log_p, entropy


@torch.no_grad()
def reads_prompts_once(model: PreTrainedModel) -> bool:
    """Whether rows can share what a model has read, and its logits are its frozen head's alone: no bias, cap or scale."""
    head = model.get_output_embeddings()
    ids = torch.arange(4, device=model.device)[None] % head.weight.shape[0]
    with evaluating(model):
        if head.weight.requires_grad or answer_inputs(model, ids, torch.ones_like(ids), 1) is None:
            return False
        hidden = model.base_model(input_ids=ids).last_hidden_state
        said = model(input_ids=ids).logits
    return torch.allclose(said.float(), (hidden @ head.weight.T).float(), rtol=1e-3, atol=1e-3)


class _OfTargets(torch.autograd.Function):
    """Log probability of one token of the vocabulary at each hidden state, and the entropy there, (n,) both.

    The gradient by the hidden state is the head's row of that token less the mean row under the model, so that it is
    taken while the logits are there; (n, width) of it is all that is kept. Entropy is read and not trained.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_p = hidden.new_empty(len(hidden), dtype=torch.float32)
        entropy = torch.empty_like(log_p)
        slope = torch.empty_like(hidden, dtype=torch.float32) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), _TOKENS_AT_ONCE):
            part = slice(start, start + _TOKENS_AT_ONCE)
            logits = (hidden[part] @ weight.T).float() / temperature
            log_z = logits.logsumexp(1)
            log_p[part] = logits.gather(1, targets[part, None]).squeeze(1) - log_z
            p = (logits - log_z[:, None]).exp_()
            entropy[part] = log_z - torch.linalg.vecdot(p, logits)
            if slope is not None:
                mean_row = p.to(weight.dtype) @ weight
                slope[part] = (weight[targets[part]].float() - mean_row.float()) / temperature
        ctx.mark_non_differentiable(entropy)
        ctx.save_for_backward(slope)
        ctx.kind = hidden.dtype
        return log_p, entropy

    @staticmethod
    def backward(ctx: Any, of_log_p: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (of_log_p[:, None] * slope).to(ctx.kind), None, None, None
