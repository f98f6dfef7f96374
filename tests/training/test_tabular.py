"""The known answers of the two-factor policy: what a scalar leaks, and what credit on the right factor does not."""

import numpy as np
import pytest

from valueattr.training.tabular import CHANNELS, leak, train_two_factor


def final_content(channel, **start):
    return np.mean([train_two_factor(channel, seed, **start).content[-1] for seed in range(20)])


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("sham", 0.50), ("framing scalar", 0.10), ("framing span", 0.50), ("sum", 0.94), ("decoupled", 0.95)],
)
def test_known_answers(channel, expected):
    assert final_content(channel) == pytest.approx(expected, abs=0.015)


def test_every_channel_but_the_sham_improves_framing():
    for channel in CHANNELS:
        gain = np.mean([np.diff(train_two_factor(channel, s).framing[[0, -1]])[0] for s in range(20)])
        assert (gain > 0.1) == (channel != "sham"), channel


def test_the_leak_has_the_sign_of_the_covariance():
    assert final_content("framing scalar", good_if_content=0.6, good_if_none=0.6) == pytest.approx(
        0.5, abs=0.05
    )
    assert final_content("framing scalar", good_if_content=0.9, good_if_none=0.3) > 0.85
    for channel, sign in (("framing scalar", -1), ("framing span", 0), ("sum", 1), ("decoupled", 1)):
        assert np.sign(train_two_factor(channel, 0).leakage[0]) == sign, channel
    assert (train_two_factor("framing span", 0).leakage == 0).all()


def test_leakage_by_hand():
    content = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    advantage = np.array([[-1.0, 0.0, 1.0, 0.0], [3.0, -3.0, 0.0, 0.0]])
    # first group: covariance (-1 * .5 + 1 * -.5) / 4 = -.25, variance .25; the second does not vary and adds nothing
    assert leak(advantage, content) == pytest.approx(-1.0)
    assert leak(advantage, np.ones((2, 4))) == 0.0


def test_the_same_seed_gives_the_same_run_and_unknown_channels_are_refused():
    one, other = (train_two_factor("sum", 3).content for _ in range(2))
    assert (one == other).all()
    with pytest.raises(ValueError, match="unknown channel 'critique'"):
        train_two_factor("critique", 0)
