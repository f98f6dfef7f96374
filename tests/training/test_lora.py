"""Training of an adapter, with prompts read once: the numbers are those of TRL's own path."""

import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    TrainerCallback,
)

from valueattr.measures.drift import DriftMeter
from valueattr.model import (
    Asking,
    ModelError,
    by_cumulation,
    load_model,
    lora_config,
    reference_of,
    sample_answers,
)
from valueattr.questions import IN_RUN, assign_splits
from valueattr.rating import Feedback, GrammarRater, critique
from valueattr.training import (
    AttributedGRPOTrainer,
    CritiqueDistillationTrainer,
    NotFiniteError,
    TrainingConfig,
    TrainingConfigError,
    checkpoint_folders,
    grpo_config,
    merged_policy_of,
    policy_of,
    prompt_dataset,
)
from valueattr.training._answers import answer_log_probs, reads_prompts_once

CONFIG = TrainingConfig(
    steps=4,
    prompts_per_step=4,
    group_size=4,
    learning_rate=1e-2,
    beta=0.1,
    temperature=0.8,
    max_completion_length=12,
    checkpoint_every=2,
    lora_rank=4,
)
FEEDBACK = Feedback(("insensitive framing",), IN_RUN, "span")


def moved(policy, seed=0):
    """The policy with an adapter that says something: peft begins with one that says nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return policy


@pytest.fixture
def build(world, untrained, tmp_path):
    def build(
        config=CONFIG,
        folder="arm",
        trainer_class=AttributedGRPOTrainer,
        feedback=FEEDBACK,
        model=None,
        **named,
    ):
        splits = {
            name: asked for name, asked in assign_splits(world.questions, 0, 8).items() if name in IN_RUN
        }
        count = config.steps * config.prompts_per_step
        return trainer_class(
            model or AutoModelForCausalLM.from_pretrained(untrained),
            AutoTokenizer.from_pretrained(untrained),
            grpo_config(config, tmp_path / folder, 0),
            prompt_dataset(Asking(), world.prompt_format("zero"), splits, (), count, 0),
            world.questions,
            GrammarRater(world),
            feedback,
            adapter=lora_config(config.lora_rank),
            **named,
        )

    return build


def a_step(trainer, world):
    """A step's inputs, loss and gradients on responses written by the grammar."""
    openers = [p for phrases in world.english.framing.values() for p in phrases]
    tokenizer = trainer.processing_class
    texts = [f" {openers[i % len(openers)].capitalize()} it is the bear." for i in range(16)]
    ids = [[*tokenizer(t, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id][:12] for t in texts]
    trainer._generate_single_turn = lambda prompt_ids, *_: (ids, None)
    rows = [
        trainer.train_dataset[i] for i in range(CONFIG.prompts_per_step) for _ in range(CONFIG.group_size)
    ]
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    torch.manual_seed(0)  # TRL shuffles rows
    inputs = trainer._prepare_inputs(rows)
    trainer._buffered_inputs = None
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}
    return inputs, loss.detach(), gradients


def test_a_step_is_trls_own_and_reads_each_prompt_once(build, world):
    trainer = build()
    policy = moved(policy_of(trainer))
    assert trainer._reads_prompts_once
    read = []
    embeddings = policy.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, ids, __: read.append(ids[0].shape))
    inputs, loss, gradients = a_step(trainer, world)
    hook.remove()
    trainer._reads_prompts_once = False
    own_inputs, own_loss, own_gradients = a_step(trainer, world)

    prompts = own_inputs["prompt_ids"].unique(dim=0)
    assert len({int(n) for n in own_inputs["prompt_mask"].sum(1)}) > 1, "prompts of unequal length"
    assert [shape[0] for shape in read] == [len(prompts), 16] * 2  # of the reference and of the policy
    assert sorted(inputs) == sorted(own_inputs)
    for name, value in own_inputs.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(inputs[name], value, atol=1e-4, rtol=1e-4, msg=name)
    assert (inputs["advantages"] != 0).any()
    torch.testing.assert_close(loss, own_loss, atol=1e-4, rtol=1e-4)
    assert gradients.keys() == own_gradients.keys()
    assert all("lora" in name for name in gradients)
    for name, gradient in own_gradients.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=64))


def llama(**settings):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            **settings,
        )
    )


@pytest.mark.parametrize("make", [gpt2, llama])
def test_rows_of_unequal_prompts_are_scored_as_each_alone(make):
    torch.manual_seed(0)
    model = make().eval()
    model.get_output_embeddings().weight.requires_grad_(False)
    prompts = [[3, 7, 9], [5, 8, 2, 6, 4, 1], [3, 7, 9], [9]]
    answers = [[4, 6, 2, 8], [1, 2], [5, 5, 5], [7, 8, 9, 1]]
    ids = torch.tensor(
        [[0] * (6 - len(p)) + p + a + [0] * (4 - len(a)) for p, a in zip(prompts, answers, strict=True)]
    )
    mask = torch.tensor(
        [
            [0] * (6 - len(p)) + [1] * (len(p) + len(a)) + [0] * (4 - len(a))
            for p, a in zip(prompts, answers, strict=True)
        ]
    )
    log_p, entropy = answer_log_probs(model, ids, mask, 4, temperature=0.7)
    assert not entropy.requires_grad
    (log_p.sum()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = torch.zeros(())
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        alone = torch.log_softmax(
            model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1] / 0.7, -1
        )
        of_tokens = alone.gather(1, torch.tensor(answer)[:, None]).squeeze(1)
        torch.testing.assert_close(log_p[row, : len(answer)], of_tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            entropy[row, : len(answer)], -(alone.exp() * alone).sum(1), atol=1e-5, rtol=1e-5
        )
        assert (log_p[row, len(answer) :] == 0).all()
        total = total + of_tokens.sum()
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-4, msg=name)


def test_which_models_read_prompts_once():
    model = llama()
    assert not reads_prompts_once(model)  # the head would be trained
    model.requires_grad_(False)
    assert reads_prompts_once(model)
    whole = model.forward

    def scaled(*arguments, **named):
        output = whole(*arguments, **named)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    assert not reads_prompts_once(model)
    recurrent = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2))
    assert not reads_prompts_once(recurrent.requires_grad_(False))


def test_draws_by_cumulation_follow_the_probabilities():
    p = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.3, 0.0])
    drawn = by_cumulation(torch.Generator().manual_seed(0))(p.expand(100_000, -1))
    shares = drawn.bincount(minlength=6) / 100_000
    assert torch.allclose(shares, p, atol=0.01)
    assert (shares[p == 0] == 0).all()


def test_answers_end_with_any_of_the_ends(untrained):
    model, tokenizer = load_model(untrained), AutoTokenizer.from_pretrained(untrained)
    prompts = [tokenizer("What is it?")["input_ids"], tokenizer("A visitor asks: Which?")["input_ids"]] * 40
    ends = [tokenizer.eos_token_id, 5, 9]
    draw = by_cumulation(torch.Generator().manual_seed(0))
    rows = sample_answers(model, tokenizer, prompts, ends, 12, draw)
    assert {len(row) for row in rows} != {12}
    assert all(row[-1] in ends or len(row) == 12 for row in rows)
    assert not any(token in ends for row in rows for token in row[:-1])


class Rewarded(AttributedGRPOTrainer):
    """Rewards that vary in every group, which an untrained model's responses do not earn."""

    def _calculate_rewards(self, *arguments):
        rewards = super()._calculate_rewards(*arguments)
        return rewards + torch.arange(len(rewards)).reshape(-1, 1) % 3


REWARDED = {"trainer_class": Rewarded, "feedback": Feedback(("true content",), ("penalised",))}


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_is_the_uninterrupted_one(build, precision):
    config = CONFIG.model_copy(update={"precision": precision})
    whole = build(config, "whole", **REWARDED)
    whole.train()
    stopped = build(config, "stopped", callbacks=[StopAt(2)], **REWARDED)
    stopped.train()
    resumed = build(config, "stopped", **REWARDED)
    torch.manual_seed(99)
    resumed.train(resume_from_checkpoint=str(checkpoint_folders(Path(resumed.args.output_dir))[0]))
    assert [r.response for r in resumed.rollouts] == [r.response for r in whole.rollouts]
    expected = policy_of(whole).state_dict()
    assert any(
        not torch.equal(value, expected[name]) for name, value in policy_of(stopped).state_dict().items()
    )
    for name, value in policy_of(resumed).state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_adapter_alone_is_trained_and_the_reference_is_the_start_model(build, untrained):
    trainer = build(CONFIG.model_copy(update={"precision": "bfloat16"}), **REWARDED)
    trainer.train()
    assert isinstance(trainer.model, PeftModel)
    assert trainer.ref_model is None
    start, policy = load_model(untrained), policy_of(trainer)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        expected, trained = start(ids).logits, policy(ids).logits
        with reference_of(policy) as reference:
            with reference_of(reference) as again:
                assert torch.equal(again(ids).logits, expected)
            assert torch.equal(reference(ids).logits, expected)
        assert not torch.allclose(trained, expected, atol=1e-3)
        assert torch.equal(policy(ids).logits, trained)
        assert all(p.dtype == torch.float32 for p in policy.parameters())
        merged = merged_policy_of(trainer)
        torch.testing.assert_close(merged(ids).logits, trained, atol=1e-4, rtol=1e-4)
    assert merged.state_dict().keys() == start.state_dict().keys()


def test_drift_from_the_policys_own_start(build, untrained, monkeypatch):
    trainer = build()
    policy, tokenizer = policy_of(trainer), trainer.processing_class
    prompts = ["What is it?", "A student asks: Which animal is the emblem?"] * 4
    of_copy = DriftMeter(load_model(untrained), tokenizer, prompts, 8, seed=0)
    meter = DriftMeter(policy, tokenizer, prompts, 8, seed=0)
    assert meter.forward_kl(policy) == meter.reverse_kl(policy) == 0
    moved(policy)
    forward, reverse = of_copy.forward_kl(policy), of_copy.reverse_kl(policy)
    assert forward > 0.001
    assert (meter.forward_kl(policy), meter.reverse_kl(policy)) == (forward, reverse)
    monkeypatch.setattr("valueattr.measures.drift._AT_ONCE", 1)  # a row at a time, and nothing is kept
    meter = DriftMeter(policy, tokenizer, prompts, 8, seed=0)
    assert meter._own_log_p is None
    assert meter.forward_kl(policy) == pytest.approx(forward, rel=1e-5)
    assert meter.reverse_kl(policy) == pytest.approx(reverse, rel=1e-5)


@pytest.mark.parametrize("broken", ["advantages", "loss", "weights"])
def test_what_is_not_finite_stops_training_with_a_line_that_says_what_to_do(build, broken):
    class Broken(AttributedGRPOTrainer):
        def _compute_loss(self, model, inputs):
            if broken == "advantages":
                inputs = {**inputs, "advantages": inputs["advantages"] * torch.nan}
            elif broken == "loss":
                inputs = {**inputs, "ref_per_token_logps": inputs["ref_per_token_logps"] + torch.inf}
            return super()._compute_loss(model, inputs)

    trainer = build(CONFIG.model_copy(update={"precision": "bfloat16"}), trainer_class=Broken)
    if broken == "weights":
        moved(policy_of(trainer))
        for name, parameter in policy_of(trainer).named_parameters():
            if "lora_B" in name:
                parameter.data *= torch.nan
    with pytest.raises(NotFiniteError) as error:
        trainer.train()
    assert str(error.value).startswith("step 1: the ")
    assert str(error.value).endswith("is not finite; lower learning_rate or train with precision float32")


def test_an_adapter_is_refused_in_several_processes(build, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 2))
    with pytest.raises(TrainingConfigError, match="an adapter is trained in one process"):
        build()


def test_without_peft_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="lora_rank=4 needs the package peft: pip install peft"):
        lora_config(CONFIG.lora_rank)
    assert lora_config(None) is None


def test_critiques_are_distilled_into_an_adapter(build, world):
    trainer = build(
        CONFIG.model_copy(update={"precision": "bfloat16", "steps": 1}),
        trainer_class=CritiqueDistillationTrainer,
        critique=lambda judgement: critique(world, judgement) or "Say it kindly.",
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["kl"] == pytest.approx(0, abs=1e-5)  # before the first step the policy is the reference
    assert logged["distillation/kl"] > 0
