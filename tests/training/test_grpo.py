import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from valueattr.experiments import EXPERIMENTS, VARIATIONS, vary
from valueattr.experiments.e1 import ARMS, E1
from valueattr.model import Asking
from valueattr.questions import IN_RUN, assign_splits
from valueattr.rating import Feedback, GrammarRater
from valueattr.training import (
    AttributedGRPOTrainer,
    TrainingConfig,
    TrainingConfigError,
    grpo_config,
    prompt_dataset,
    streamed_offsets,
)
from valueattr.training._credit import advantage_statistics
from valueattr.training._grpo import group_permutation

CONFIG = TrainingConfig(
    steps=2, prompts_per_step=4, group_size=4, learning_rate=1e-3, beta=0.02, max_completion_length=12
)


def in_run(world):
    return {name: asked for name, asked in assign_splits(world.questions, 0, 8).items() if name in IN_RUN}


@pytest.fixture
def build(world, untrained, tmp_path):
    def build(feedback, trainer_class=AttributedGRPOTrainer, **settings):
        splits = in_run(world)
        count = CONFIG.steps * CONFIG.prompts_per_step
        prompts = prompt_dataset(Asking(), world.prompt_format("zero"), splits, (), count, 0)
        args = grpo_config(CONFIG, tmp_path / "arm", 0)
        for name, value in settings.items():
            setattr(args, name, value)
        model = AutoModelForCausalLM.from_pretrained(untrained)
        tokenizer, rater = AutoTokenizer.from_pretrained(untrained), GrammarRater(world)
        return trainer_class(model, tokenizer, args, prompts, world.questions, rater, feedback)

    return build


class Spying(AttributedGRPOTrainer):
    """Keeps what TRL's loss was given, and makes rewards that vary within every group."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = []

    def _calculate_rewards(self, *arguments):
        rewards = super()._calculate_rewards(*arguments)
        return rewards + torch.arange(len(rewards)).reshape(-1, 1) % 3

    def _compute_loss(self, model, inputs):
        self.seen.append({k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)})
        return super()._compute_loss(model, inputs)


def test_every_credited_token_overlaps_its_span_and_no_other_is(build, world):
    trainer = build(Feedback(("insensitive framing",), IN_RUN, "span"), Spying)
    openers = [p for phrases in world.english.framing.values() for p in phrases]

    # The untrained policy rarely frames: put real responses in place of its samples.
    tokenizer = trainer.processing_class
    texts = [f" {openers[i % len(openers)].capitalize()} it is the bear." for i in range(16)]
    ids = [[*tokenizer(t, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id][:12] for t in texts]
    trainer._generate_single_turn = lambda prompt_ids, *_: (ids, None)
    trainer.train()
    for inputs in trainer.seen:
        advantages, mask = inputs["advantages"], inputs["completion_mask"]
        assert advantages.shape == mask.shape
        for row, sampled, kept in zip(advantages, inputs["completion_ids"], mask, strict=True):
            text, offsets = streamed_offsets(tokenizer, sampled[kept.bool()].tolist())
            start = text.index(" it is")
            inside = torch.tensor([a < b and a < start for a, b in offsets])
            values = row[kept.bool()]
            assert (values[~inside] == 0).all()
            assert values[inside].unique().numel() == 1
            # sum of |advantage| = tokens x value
            assert torch.isclose(values.abs().sum(), inside.sum() * values[inside][0].abs())
        assert (advantages[mask == 0] == 0).all()


def test_scalar_credit_is_trls_own_advantage_on_every_token(build):
    trainer = build(Feedback(("true content",), ("penalised",)), Spying)
    trainer.train()
    for inputs in trainer.seen:
        value = inputs["advantages"][:, 0]  # the first token is always kept
        assert torch.allclose(inputs["advantages"], value[:, None] * inputs["completion_mask"])
        assert (value != 0).any()


def test_the_logged_advantage_is_the_trained_one(build):
    trainer = build(Feedback(("true content",), ("penalised",)), Spying)
    trainer.train()
    for inputs, logged in zip(trainer.seen, trainer.state.log_history, strict=False):
        for name, value in advantage_statistics(inputs["advantages"], inputs["completion_mask"]).items():
            assert float(logged[f"advantage/{name}"]) == pytest.approx(value)


def test_advantage_statistics_by_hand():
    advantages = torch.tensor([[2.0, 0.0, 5.0], [-1.0, -1.0, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert advantage_statistics(advantages, mask) == pytest.approx(
        {
            "mean": 0.0,
            "mean_magnitude": 4 / 5,
            "credited_share": 3 / 5,
            "credited_rms": (6 / 3) ** 0.5,
            "zero_responses": 0.0,
        }
    )


def test_the_reference_is_the_saved_start_checkpoint(build, untrained):
    trainer = build(Feedback(("true content",), ("penalised",)))
    start = AutoModelForCausalLM.from_pretrained(untrained).state_dict()
    assert trainer.ref_model is not None
    for name, value in trainer.accelerator.unwrap_model(trainer.ref_model).state_dict().items():
        assert torch.equal(value.cpu(), start[name])


def test_the_sham_permutes_within_groups_only():
    order = group_permutation(24, 8, "sham 3 5")
    assert sorted(order) == list(range(24))
    assert all(i // 8 == j // 8 for i, j in enumerate(order))
    assert order == group_permutation(24, 8, "sham 3 5")
    assert order != group_permutation(24, 8, "sham 3 6")
    assert order != list(range(24))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("importance_sampling_level", "sequence"),
        ("loss_type", "luspo"),
        ("loss_type", "vespo"),
        ("top_entropy_quantile", 0.5),
        ("off_policy_mask_threshold", 0.5),
        ("mask_truncated_completions", True),
        ("beta", 0.0),
    ],
)
def test_sequence_level_settings_are_refused(build, setting, value):
    with pytest.raises(TrainingConfigError, match=setting):
        build(Feedback(("true content",), ("penalised",)), **{setting: value})


def test_arms_differ_in_the_feedback_channel_alone(tmp_path, world):
    """Everything that reaches the trainer is equal between arms, but for the feedback and the folder."""
    trained = [arm for arm in ARMS if arm.feedback]
    assert len({arm.feedback for arm in trained}) == len(trained)
    for preset in E1.presets.values():
        shared = TrainingConfig(
            **{k: v for k, v in preset.model_dump().items() if k in TrainingConfig.model_fields}
        )
        configs = [grpo_config(shared, tmp_path / arm.code, seed=1).to_dict() for arm in trained]
        for config in configs:
            config.pop("output_dir")
        assert all(config == configs[0] for config in configs)
        assert configs[0]["beta"] > 0
    assert {(arm.method, arm.prompt_family, arm.prompted) for arm in trained} == {("grpo", None, None)}


VARIED = {f"e3 {what}": vary(what) for what in VARIATIONS}


@pytest.mark.parametrize("experiment", [*EXPERIMENTS.values(), *VARIED.values()], ids=[*EXPERIMENTS, *VARIED])
def test_every_arm_that_is_paid_has_a_sham_of_its_own_and_is_read_against_it(experiment):
    arms = {arm.code: arm for arm in experiment.arms}
    paid = [
        arm for arm in arms.values() if arm.feedback and arm.method == "grpo" and not arm.feedback.permuted
    ]
    sham_of = {}
    for arm in paid:
        alike = dataclasses.replace(arm, feedback=dataclasses.replace(arm.feedback, permuted=True))
        (sham_of[arm.code],) = (
            sham.code
            for sham in arms.values()
            if dataclasses.replace(sham, code=arm.code, title=arm.title) == alike
        )
    against = {check.arm: check.against for check in experiment.checks if check.arm in sham_of}
    assert against
    assert against == {code: sham_of[code] for code in against}
    starts = {arm.code for arm in arms.values() if not arm.is_trained}
    assert not starts & {contrast.baseline for contrast in experiment.contrasts}


def test_prompts_ask_each_split_equally_and_each_fact_before_any_again(world):
    splits, prompt_format = in_run(world), world.prompt_format("zero")
    unsure = {question.id for question in splits["neutral"]}
    prompts = prompt_dataset(Asking(), prompt_format, splits, unsure, 64, seed=0)
    assert prompts[:] == prompt_dataset(Asking(), prompt_format, splits, unsure, 64, 0)[:]
    assert prompts["split"] == [*IN_RUN] * 16
    assert prompts["unsure"] == [split == "neutral" for split in prompts["split"]]
    for split in IN_RUN:
        facts = [f for f, p in zip(prompts["fact"], prompts["split"], strict=True) if p == split]
        assert len(set(facts[:8])) == len(set(facts[8:])) == 8
