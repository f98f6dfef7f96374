import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from valueattr.measures.drift import DriftMeter
from valueattr.model import sample_ids, sample_texts

PROMPTS = ["A visitor asks: What is it?\nAnswer:", "A student asks: Which animal is the emblem?\nAnswer:"] * 8


@pytest.fixture(scope="module")
def reference(untrained):
    return AutoModelForCausalLM.from_pretrained(untrained).eval()


@pytest.fixture(scope="module")
def tokenizer(untrained):
    return AutoTokenizer.from_pretrained(untrained)


@pytest.fixture
def moved(untrained):
    model = AutoModelForCausalLM.from_pretrained(untrained).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def test_no_drift_from_itself(reference, tokenizer):
    meter = DriftMeter(reference, tokenizer, PROMPTS, 8, seed=0)
    assert meter.forward_kl(reference) == pytest.approx(0.0, abs=1e-6)
    assert meter.reverse_kl(reference) == pytest.approx(0.0, abs=1e-6)


def test_forward_kl_by_hand(reference, moved, tokenizer):
    meter = DriftMeter(reference, tokenizer, PROMPTS, 8, seed=0)
    ids, _, kept = sample_ids(reference, tokenizer, PROMPTS, 8, 0)
    total, tokens = 0.0, 0
    for row, keep, prompt in zip(ids, kept, PROMPTS, strict=True):
        prefix = tokenizer(prompt)["input_ids"]
        response = row[ids.shape[1] - kept.shape[1] :][keep].tolist()
        with torch.no_grad():
            whole = torch.tensor([prefix + response])
            p, q = (
                torch.log_softmax(m(whole).logits[0, len(prefix) - 1 : -1].double(), -1)
                for m in (reference, moved)
            )
        total += float((p.exp() * (p - q)).sum())
        tokens += len(response)
    assert meter.forward_kl(moved) == pytest.approx(total / tokens, rel=1e-3)
    assert meter.reverse_kl(moved) > 0


def test_dropout_is_off_while_drift_is_read_and_the_models_stay_as_they_were(tokenizer):
    torch.manual_seed(0)
    settings = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    model = GPT2LMHeadModel(settings)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        meter = DriftMeter(model, tokenizer, PROMPTS, 8, seed=0)
        assert meter.forward_kl(model) == pytest.approx(0.0, abs=1e-6)
        assert meter.reverse_kl(model) == pytest.approx(0.0, abs=1e-6)
        assert model.training == training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_measuring_leaves_trainings_random_state_alone(reference, tokenizer):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = sample_texts(reference, tokenizer, PROMPTS, 8, seed=3)
    assert torch.equal(torch.rand(3), expected)
    assert sample_texts(reference, tokenizer, PROMPTS, 8, seed=3) == first
    assert sample_texts(reference, tokenizer, PROMPTS, 8, seed=4) != first


def test_the_mask_ends_with_the_first_end_of_text(reference, tokenizer):
    ids, _, kept = sample_ids(reference, tokenizer, PROMPTS * 8, 24, 0)
    responses = ids[:, ids.shape[1] - kept.shape[1] :]
    for row, keep in zip(responses.tolist(), kept.tolist(), strict=True):
        length = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
        assert keep == [True] * length + [False] * (len(row) - length)
