import pytest

from valueattr.experiments import E1, E2, E3
from valueattr.plan import Plan
from valueattr.rating import NO_ANSWER


def test_chosen_arms_keep_the_start_model_and_what_is_declared_between_them():
    few = E1.only(["a3", "a3-sham", "a4-span", "a4-span-sham"])
    assert [arm.code for arm in few.arms] == ["a0", "a3", "a3-sham", "a4-span", "a4-span-sham"]
    named = {c.name for c in few.contrasts}
    assert {"retention", "framing-span"} <= named
    assert "framing-scalar" not in named
    assert {check.arm for check in few.checks} == {"a3", "a4-span"}


def test_a_choice_of_arms_is_sealed():
    whole, few = (Plan.of(e, "smoke", "w") for e in (E1, E1.only(["a3", "a3-sham"])))
    assert (whole.chosen_arms, few.chosen_arms) == (False, True)
    assert whole.to_json() != few.to_json()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (["a3", "a9"], "e1 has no arm a9; its arms are a0, a3, a3-sham, a4-scalar"),
        (["a3-sham", "a5"], "the primary contrast needs the arms a3 and a3-sham"),
    ],
)
def test_a_choice_that_cannot_answer_the_question_is_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        E1.only(codes)


def test_natural_answers_leave_the_arms_that_no_framing_is_read_for():
    natural = E1.in_natural_answers()
    assert [arm.code for arm in natural.arms] == ["a0", "a3", "a3-sham", "a5", "a5-sham", "a6", "a6-sham"]
    for arm in natural.arms[1:]:
        assert arm.feedback.penalties[-1] == NO_ANSWER
        assert arm.title.endswith("; also no answer, hedge or refusal")
        assert (
            arm.feedback.penalties[:-1] == next(a for a in E1.arms if a.code == arm.code).feedback.penalties
        )
    assert "content-framing" not in {contrast.name for contrast in natural.contrasts}
    assert natural.presets["real"].max_completion_length == 2 * E1.presets["real"].max_completion_length
    assert natural.primary in {contrast.name for contrast in natural.contrasts}


def test_hedging_has_natural_answers_and_framing_has_none():
    assert {arm.code for arm in E2.in_natural_answers().arms} == {arm.code for arm in E2.arms}
    with pytest.raises(ValueError, match="the primary contrast needs the arms"):
        E3.in_natural_answers()


def test_an_adapter_is_trained_where_it_is_asked_for():
    assert {preset.lora_rank for preset in E1.with_adapter(8).presets.values()} == {8}
    assert {preset.lora_rank for preset in E1.with_adapter(None).presets.values()} == {None}
    assert E1.with_adapter(None).presets["tiny"] == E1.presets["tiny"]
