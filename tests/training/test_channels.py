"""The channels of E3 on one fixed set of responses: equal judgements, and each the advantages that it declares."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from valueattr.experiments import E3
from valueattr.model import Asking
from valueattr.questions import assign_splits
from valueattr.rating import Feedback, GrammarRater, critique
from valueattr.training import (
    AttributedGRPOTrainer,
    CritiqueDistillationTrainer,
    TrainingConfig,
    TrainingConfigError,
    dpo_trainer,
    edit_pairs,
    grpo_config,
    prompt_dataset,
    sft_trainer,
    well_put_answers,
)
from valueattr.training._credit import group_z_scores
from valueattr.training._distillation import _of_another
from valueattr.training._grpo import group_permutation
from valueattr.world import respond, synthesise

CONFIG = TrainingConfig(
    steps=1, prompts_per_step=4, group_size=4, learning_rate=1e-3, beta=0.02, max_completion_length=24
)
COUNT = CONFIG.prompts_per_step * CONFIG.group_size
ON_POLICY = [
    arm for arm in E3.arms if arm.is_trained and arm.method not in ("edit pairs", "well-put answers")
]


WORLD = synthesise(0)


class Fixed:
    """Mixed into a trainer: the same responses, written by the grammar, whatever the model is."""

    def _generate_single_turn(self, prompt_ids, *_):
        import random

        rng = random.Random(0)
        tokenizer = self.processing_class
        facts = [f for f in WORLD.facts if f.exposure == "well_known"]
        rows = []
        for _ in prompt_ids:
            text = " " + respond(WORLD, rng.choice(facts), "negative", rng).text
            rows.append(
                [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id][:24]
            )
        return rows, None

    def _calculate_rewards(self, *arguments):
        self.judged_rewards = super()._calculate_rewards(*arguments)
        return self.judged_rewards

    def _compute_loss(self, model, inputs):
        self.seen = {k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)}
        return super()._compute_loss(model, inputs)


class FixedGRPO(Fixed, AttributedGRPOTrainer):
    pass


class FixedCritique(Fixed, CritiqueDistillationTrainer):
    pass


@pytest.fixture
def build(world, untrained, tmp_path):
    def build(feedback, method="grpo"):
        splits = {"penalised": assign_splits(world.questions, 0, 8)["penalised"]}
        prompt_format = world.prompt_format("negative")
        prompts = prompt_dataset(Asking(), prompt_format, splits, (), CONFIG.prompts_per_step, 0)
        arguments = (
            AutoModelForCausalLM.from_pretrained(untrained),
            AutoTokenizer.from_pretrained(untrained),
            grpo_config(CONFIG, tmp_path / "arm", 0),
            prompts,
            world.questions,
            GrammarRater(world),
            feedback,
        )
        if "critique" in method:
            whose = "other" if "other" in method else "own"
            return FixedCritique(*arguments, critique=partial(critique, world), whose=whose)
        return FixedGRPO(*arguments)

    return build


def trained(build, code):
    arm = next(arm for arm in E3.arms if arm.code == code)
    trainer = build(arm.feedback, arm.method)
    trainer.train()
    return trainer


def test_every_channel_receives_equal_judgements(build, world):
    judgements = {}
    for arm in ON_POLICY:
        trainer = build(arm.feedback, arm.method)
        trainer.train()
        judgements[arm.code] = [(r.fact, r.response, r.judgement, r.split) for r in trainer.rollouts]
    assert len(judgements) == 28  # thirteen that are paid, each with its sham, and two critiques
    assert all(rows == judgements["s2"] for rows in judgements.values())
    # Off-policy channels are made of judged responses by the same rater.
    rollouts = trainer.rollouts
    assert [GrammarRater(world).judge(world.questions[r.fact], r.response) for r in rollouts] == [
        r.judgement for r in rollouts
    ]
    feedback = Feedback(("insensitive framing",), ("penalised",))
    blunt = [r for r in rollouts if r.judgement.framing == "blunt"]
    assert 0 < len(edit_pairs(world, feedback, rollouts, "negative")) == len(blunt)
    assert len(well_put_answers(Asking(), world, feedback, rollouts, "negative")) == len(rollouts)


def test_the_summed_scalar_is_the_channels_summed(build):
    trainer = trained(build, "s3")
    total = trainer.judged_rewards.sum(1, keepdim=True)
    expected = group_z_scores(total, CONFIG.group_size)[:, 0]
    for row, advantages in enumerate(trainer.trained_advantages):
        assert advantages == pytest.approx([float(expected[row])] * len(advantages), abs=1e-5)


def test_decoupled_channels_are_each_normalised_in_the_group_and_then_summed(build):
    """As where every channel has its own tokens, so that the two differ in the tokens alone."""
    trainer, tokens = trained(build, "s5"), trained(build, "s7")
    expected = group_z_scores(trainer.judged_rewards, CONFIG.group_size).sum(1)
    z = group_z_scores(tokens.judged_rewards, CONFIG.group_size)
    assert torch.equal(z.sum(1), expected)
    for row, advantages in enumerate(trainer.trained_advantages):
        assert advantages == pytest.approx([float(expected[row])] * len(advantages), abs=1e-5)


def test_one_channel_on_its_span_has_trls_value(build):
    scalar, span = trained(build, "s2"), trained(build, "s6")
    credited = 0
    for whole, part in zip(scalar.trained_advantages, span.trained_advantages, strict=True):
        carried = [value for value in part if value]
        credited += len(carried)
        assert carried == pytest.approx([whole[0]] * len(carried), abs=1e-5)
    assert credited


def test_noise_stands_where_the_leak_was_and_nowhere_else(build):
    noise, span, scalar = (trained(build, code) for code in ("noise", "s6", "s2"))
    z = group_z_scores(noise.judged_rewards, CONFIG.group_size)[:, 0]
    order = group_permutation(COUNT, CONFIG.group_size, f"noise {noise.args.seed} 0")
    assert sorted(order) == list(range(COUNT)) != order
    for row, (given, own, whole) in enumerate(
        zip(noise.trained_advantages, span.trained_advantages, scalar.trained_advantages, strict=True)
    ):
        assert len(given) == len(whole)
        for value, on_span in zip(given, own, strict=True):
            expected = z[row] if on_span else z[order[row]]
            if z[row]:  # where it is 0 the span cannot be told from the rest
                assert value == pytest.approx(float(expected), abs=1e-5)


def test_a_sham_of_noise_is_noise_on_all_tokens():
    """Its own reward comes back to a response no more often than any other of its group."""
    own = 0
    for step in range(400):
        sham, noise = (group_permutation(8, 8, f"{what} 0 {step}") for what in ("sham", "noise"))
        own += sum(sham[noise[i]] == i for i in range(8))
    assert own / (400 * 8) == pytest.approx(1 / 8, abs=0.02)


def test_random_spans_carry_as_much_as_the_true_ones(build):
    span, at_random = trained(build, "s6"), trained(build, "random")
    for true, drawn in zip(span.trained_advantages, at_random.trained_advantages, strict=True):
        assert sorted(true) == pytest.approx(sorted(drawn), abs=1e-6)
    assert span.trained_advantages != at_random.trained_advantages


def test_swapped_labels_credit_the_other_aspect(build):
    straight, swapped = trained(build, "s7"), trained(build, "swapped")
    assert straight.trained_advantages != swapped.trained_advantages
    z = group_z_scores(straight.judged_rewards, CONFIG.group_size)
    for row, (one, other) in enumerate(
        zip(straight.trained_advantages, swapped.trained_advantages, strict=True)
    ):
        # Framing comes first and content after it, which begins at once where the rater does not know the opener.
        known = straight.rollouts[row].judgement.framing is not None
        first, second = (0, 1) if known else (1, 0)
        assert (one[0], other[0]) == pytest.approx((float(z[row, first]), float(z[row, second])), abs=1e-5)


def test_the_kept_tensor_is_the_one_in_the_loss(build):
    trainer = trained(build, "s7")
    in_loss = sorted(
        tuple(round(v, 5) for v in row[kept.bool()].tolist())
        for row, kept in zip(trainer.seen["advantages"], trainer.seen["completion_mask"], strict=True)
    )
    kept = sorted(tuple(round(v, 5) for v in row) for row in trainer.trained_advantages)
    assert in_loss == kept


def test_a_critique_is_of_the_very_response_and_the_control_of_another(build, world):
    own, other = trained(build, "s8"), trained(build, "s8-other")
    blunt = [r.judgement.framing == "blunt" for r in own.rollouts]
    contexts = own._contexts()
    assert [context is not None for context in contexts] == blunt
    for context, r in zip(contexts, own.rollouts, strict=True):
        assert context is None or (r.response.strip() in context and "framing was insensitive" in context)
    moved = [context is not None for context in other._contexts()]
    assert sum(moved) == sum(blunt)
    assert moved != blunt
    assert own.trained_advantages == [None] * COUNT


def test_no_critique_stays_with_its_response():
    said = [str(i) for i in range(9)]
    moved = _of_another(said, "0 1")
    assert sorted(moved) == said
    assert all(a != b for a, b in zip(said, moved, strict=True))


def test_distillation_moves_the_policy_towards_its_teacher(build):
    trainer = build(Feedback(("insensitive framing",), ("penalised",)), "critique")
    trainer.args.learning_rate = 1e-5  # an untrained teacher says little: a larger step would overshoot
    trainer.train()
    before = float(trainer.state.log_history[0]["distillation/kl"])
    trainer.model.eval()
    with torch.no_grad():
        trainer._compute_loss(trainer.model, trainer.seen)
    after = trainer._metrics["eval"]["distillation/kl"][-1]
    assert 0 < after < before


def test_dpo_and_sft_take_as_many_steps_over_their_examples_once(build, world, untrained, tmp_path):
    rollouts = trained(build, "s2").rollouts
    feedback = Feedback(("insensitive framing",), ("penalised",))
    tokenizer = AutoTokenizer.from_pretrained(untrained)
    config = CONFIG.model_copy(update={"steps": 2})

    def model():
        return AutoModelForCausalLM.from_pretrained(untrained)

    pairs = edit_pairs(world, feedback, rollouts, "negative")
    trainer = dpo_trainer(model(), model(), tokenizer, config, pairs, tmp_path / "dpo", 0)
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.args.per_device_train_batch_size == max(1, len(pairs) // 2)
    examples = well_put_answers(Asking(), world, feedback, rollouts, "negative")
    trainer = sft_trainer(model(), tokenizer, config, examples, tmp_path / "sft", 0)
    trainer.train()
    assert trainer.state.global_step == 2


def test_groups_that_a_process_would_split_are_refused(build):
    trainer = build(Feedback(("true content",), ("penalised",)))
    args = trainer.args
    args.per_device_train_batch_size = 6
    again = (trainer.model, trainer.processing_class, args, trainer.train_dataset)
    with pytest.raises(TrainingConfigError, match="no whole groups of 4"):
        AttributedGRPOTrainer(*again, WORLD.questions, GrammarRater(WORLD), trainer.feedback)


def test_two_processes_give_the_advantages_of_one(untrained, tmp_path):
    """The same responses, on one process and on two under `accelerate launch`."""
    codes = ["s5", "s7"]
    script = Path(__file__).with_name("advantages_of_one_step.py")

    def run(processes):
        out = tmp_path / f"{processes}"
        out.mkdir()
        # The launcher that starts several processes is named after GPUs; the environment keeps it on the CPU.
        launcher = ["--multi_gpu"] if processes > 1 else ["--cpu"]
        command = [sys.executable, "-m", "accelerate.commands.launch", *launcher]
        command += ["--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
        command += ["--dynamo_backend", "no", "--main_process_port", "0"]
        command += [str(script), str(untrained), str(out), *codes]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(p.read_text()) for p in sorted(out.glob("*.json"))]

    (one,) = run(1)
    first, second = run(2)
    for code in codes:
        both = {key: first[code][key] + second[code][key] for key in one[code]}
        assert one[code]["advantages"] == [pytest.approx(row, abs=1e-6) for row in both["advantages"]]
        assert one[code]["responses"] == both["responses"]
        assert any(value for row in one[code]["advantages"] for value in row)


def test_the_sham_permutes_channels_together(build):
    both = next(arm for arm in E3.arms if arm.code == "s3").feedback
    straight, sham = build(both), build(replace(both, permuted=True))
    straight.train()
    sham.train()
    groups = [t.judged_rewards.reshape(-1, CONFIG.group_size, 2) for t in (straight, sham)]
    for one, other in zip(*groups, strict=True):
        assert sorted(map(tuple, one.tolist())) == sorted(map(tuple, other.tolist()))
