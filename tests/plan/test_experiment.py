import pytest

from valueattr.experiments import E1
from valueattr.plan import Plan


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
