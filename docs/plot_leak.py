"""Draws docs/images/leak.svg: python docs/plot_leak.py, after `make demo` or `make test` has set up."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from figure_style import STYLE
from matplotlib.figure import Figure

from valueattr.training.tabular import CHANNELS, train_two_factor

SEEDS = range(20)
INKS = dict(zip(CHANNELS, ["#999999", "#D55E00", "#0072B2", "#009E73", "#E69F00"], strict=True))
LABELS = {"sum": "sum of both, scalar", "decoupled": "both, normalised, then summed"}
COVARIANCES = np.linspace(-0.6, 0.6, 13)

mpl.rcParams.update(STYLE)
figure = Figure(figsize=(9.6, 3.6), layout="constrained")
along, by_start = figure.subplots(1, 2)
for channel in CHANNELS:
    content = np.array([train_two_factor(channel, seed).content for seed in SEEDS])
    label = LABELS.get(channel, channel)
    along.plot(content.mean(0), color=INKS[channel], label=label)
    along.fill_between(
        range(31), *np.quantile(content, [0.05, 0.95], axis=0), color=INKS[channel], alpha=0.15, lw=0
    )
for channel in ("framing scalar", "framing span"):
    ends = [
        [
            train_two_factor(
                channel, seed, good_if_content=0.6 + gap / 2, good_if_none=0.6 - gap / 2
            ).content[-1]
            for seed in SEEDS
        ]
        for gap in COVARIANCES
    ]
    by_start.plot(COVARIANCES, np.mean(ends, axis=1), "o-", ms=4, color=INKS[channel], label=channel)
along.set(xlabel="step", ylabel="P(says the fact)", ylim=(0, 1))
along.legend(frameon=False, fontsize=8.5, loc="center right", bbox_to_anchor=(1.0, 0.36))
by_start.set(
    xlabel="P(good framing | fact) - P(good framing | no fact), at the start",
    ylabel="P(says the fact), after 30 steps",
    ylim=(0, 1),
)
by_start.legend(frameon=False, fontsize=8.5)
figure.savefig(Path(__file__).with_name("images") / "leak.svg", metadata={"Date": None})
