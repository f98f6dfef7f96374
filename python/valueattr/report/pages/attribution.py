"""The page of E3: what each way of giving feedback does to framing and to knowledge."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valueattr.plan import FRAMING, Arm, Frontier, common_range, frontiers
from valueattr.report._drawing import (
    COLOURS,
    SHAM_INK,
    Column,
    Plot,
    View,
    arm_axis,
    colour,
    dots,
    legend_below,
    legend_beside,
)
from valueattr.report._findings import Findings, number

_FRAMING_ALONE = ("insensitive framing",)
_CONTENT = "no true content"  # what the arms that pay for content hold against a response
_SMOOTH = 5

# One per arm of a panel.
_WORTH_A_RANGE = 0.1


def _own(findings: Findings) -> list[Arm]:
    """The arms with feedback, without those that vary the prompt family or the noise of spans."""
    start = findings.plan.start
    return [
        arm
        for arm in findings.arms.values()
        if arm.feedback is not None
        and not arm.feedback.span_noise
        and (start is None or arm.prompt_family == start.prompt_family)
    ]


def _is_scalar(arm: Arm) -> bool:
    """Whether its feedback is one number per response."""
    return arm.method == "grpo" and arm.feedback is not None and arm.feedback.credit == "response"


def _pays_for_framing_alone(arm: Arm) -> bool:
    return arm.feedback is not None and arm.feedback.penalties == _FRAMING_ALONE


def _framing_arms(findings: Findings, prompt_family: str | None) -> tuple[Arm | None, Arm | None, Arm | None]:
    """The arms of a prompt family that are told of framing alone: as a scalar, on its tokens, and on random tokens."""
    found: dict[str, Arm] = {}
    for arm in findings.arms.values():
        if (
            arm.prompt_family == prompt_family
            and arm.method == "grpo"
            and arm.feedback is not None
            and arm.feedback == replace(arm.feedback, permuted=False, swapped=False, span_noise=0.0)
            and _pays_for_framing_alone(arm)
        ):
            found[arm.feedback.credit] = arm
    return found.get("response"), found.get("span"), found.get("random")


def _frontier_points(findings: Findings, knowledge: str) -> dict[tuple[str, int], Frontier]:
    return frontiers(findings.plan, findings.run.table("measures"), "penalised", knowledge)


def _frontier(findings: Findings) -> Figure | None:
    """Knowledge against framing along training; scalars left, structured feedback right."""
    figure = Figure(figsize=(10.5, 7.2))
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    kinds = (("belief_margin", "belief margin (nats)"), ("assert_true", "share of true answers"))
    shams = [arm for arm in _own(findings) if arm.is_sham]
    trained = [arm for arm in _own(findings) if not arm.is_sham]
    scalars = [arm for arm in trained if _is_scalar(arm)]
    structured = [arm for arm in trained if not _is_scalar(arm)]
    for row, (measure, label) in zip(grid, kinds, strict=True):
        points = _frontier_points(findings, measure)
        if not points:
            return None
        for axes, arms in zip(row, (scalars, structured), strict=True):
            beside = [sham for sham in shams if _is_scalar(sham) == (arms is scalars)]
            for i, sham in enumerate(beside):
                _lines(axes, points, sham.code, "_" if i else "their shams", SHAM_INK)
            for arm, ink in zip(arms, COLOURS[: len(arms)], strict=True):
                _lines(axes, points, arm.code, findings.label(arm.code), ink)
        row[0].set_ylabel(label)
    for axes in grid[1]:
        axes.set_xlabel("framing by a rater that no arm is trained on")
    grid[0][0].set_title("one number per response", fontsize=10)
    grid[0][1].set_title("feedback with structure, and its controls", fontsize=10)
    for axes in grid[1]:
        legend_below(axes, columns=1)
    figure.subplots_adjust(hspace=0.1)
    return figure


def _lines(axes: Axes, points: dict[tuple[str, int], Frontier], arm: str, label: str, ink: str) -> None:
    of_arm = [frontier for (code, _), frontier in points.items() if code == arm]
    for i, frontier in enumerate(of_arm):
        axes.plot(
            frontier.framing,
            frontier.knowledge,
            "-",
            color=ink,
            lw=1.2,
            alpha=0.75,
            label="_" if i else label,
        )
        axes.plot(frontier.framing[-1], frontier.knowledge[-1], "o", color=ink, ms=5)


def _leakage(findings: Findings) -> Figure | None:
    rows = findings.steps[findings.steps["name"] == "advantage/leakage"]
    arms = [arm for arm in _own(findings) if arm.code in set(rows["arm"])]
    framing_only = [arm.code for arm in arms if _pays_for_framing_alone(arm)]
    paid = [arm.code for arm in arms if arm.feedback and _CONTENT in arm.feedback.penalties]
    if not framing_only and not paid:
        return None
    figure = Figure(figsize=(9.5, 3.6))
    panels = figure.subplots(1, 2)
    for axes, group, title in zip(
        panels, (framing_only, paid), ("framing only", "content is paid for too"), strict=True
    ):
        for arm in group:
            of_seeds = rows[rows["arm"] == arm].pivot_table(index="step", columns="seed", values="value")
            smooth = of_seeds.rolling(_SMOOTH, min_periods=1, center=True).mean()
            ink = colour(findings, arm)
            axes.plot(smooth.index, smooth.mean(axis=1), color=ink, lw=1.6, label=findings.label(arm))
            axes.fill_between(
                smooth.index, smooth.min(axis=1), smooth.max(axis=1), color=ink, alpha=0.15, lw=0
            )
        axes.axhline(0, color="black", lw=0.8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        legend_below(axes, columns=1)
    panels[0].set_ylabel("leakage λ")
    return figure


def _credit(findings: Findings) -> Figure | None:
    names = ("advantage/on_content", "advantage/on_framing", "advantage/on_other")
    rows = findings.steps[findings.steps["name"].isin(names)]
    shares = rows.pivot_table(index="arm", columns="name", values="value")
    arms = [arm for arm in findings.arms if arm in shares.index]
    if not arms:
        return None
    figure = Figure(figsize=(8, 0.34 * len(arms) + 1.0))
    axes = figure.subplots()
    left = np.zeros(len(arms))
    inks = dict(zip(names, ("#D55E00", "#0072B2", "#BBBBBB"), strict=True))
    for name in names:
        width = shares.loc[arms, name].to_numpy()
        axes.barh(range(len(arms)), width, left=left, color=inks[name], height=0.7, label=name.split("_")[-1])
        left += width
    axes.set_yticks(range(len(arms)), [findings.label(arm) for arm in arms])
    axes.invert_yaxis()
    axes.set_xlabel("share of |advantage|, mean over steps and seeds")
    axes.grid(False)
    legend_beside(axes)
    return figure


def _is_followed(arm: Arm) -> bool:
    """Whether it is drawn along KL: neither a scalar with a second reason nor a control of labels or critiques."""
    if arm.feedback is None or arm.feedback.swapped or arm.method == "other critique":
        return False
    return _pays_for_framing_alone(arm) or not _is_scalar(arm)


def _gold_and_proxy(findings: Findings) -> Figure | None:
    keys = ["arm", "seed", "step"]
    kl = findings.steps.loc[findings.steps["name"] == "forward_kl", [*keys, "value"]]
    measures = findings.run.table("measures").astype({"arm": str, "measure": str})
    measures = measures[
        (measures["split"] == "penalised") & measures["measure"].isin([FRAMING, "framing_reward"])
    ]
    means = measures.pivot_table(index=keys, columns="measure", values="value", observed=True).reset_index()
    points = means.merge(kl.rename(columns={"value": "kl"}), on=keys)
    shown = [arm.code for arm in _own(findings) if _is_followed(arm) and arm.code in set(points["arm"])]
    if not shown:
        return None
    figure = Figure(figsize=(9.5, 3.6))
    panels = figure.subplots(1, 2, sharex=True)
    for axes, name, label in zip(
        panels,
        ("framing_reward", FRAMING),
        ("reward by the trained rater", "framing by the other rater"),
        strict=True,
    ):
        for arm in shown:
            for i, (_, line) in enumerate(points[points["arm"] == arm].groupby("seed")):
                line = line.sort_values("step")
                axes.plot(
                    np.sqrt(line["kl"]),
                    line[name],
                    "o-",
                    ms=3,
                    lw=1.1,
                    alpha=0.8,
                    color=colour(findings, arm),
                    label="_" if i else findings.label(arm),
                )
        axes.set_xlabel("√ forward KL (nats per token)")
        axes.set_title(label, fontsize=10)
    legend_below(panels[1], columns=2, x=-0.1)
    return figure


def _outcomes(findings: Findings) -> Figure | None:
    figure = Figure(figsize=(10, 0.36 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 4, sharey=True)
    measures = (
        (FRAMING, "framing, other rater"),
        ("assert_true", "true answers"),
        ("belief_margin", "belief (nats)"),
        ("hedged/any", "responses that hedge"),
    )
    for axes, (measure, label) in zip(panels, measures, strict=True):
        rows = findings.at_end(measure, "penalised")
        start = rows[rows["arm"] == findings.start]
        if len(start):
            axes.axvline(float(start["estimate"].iloc[0]), color="black", lw=0.8)
        dots(axes, findings, rows)
        axes.set_xlabel(label, fontsize=9)
    arm_axis(panels[0], findings)
    return figure


def _by_prompt_family(findings: Findings) -> Figure | None:
    """The gap between span and scalar against the scalar's leakage, one point per prompt family and seed."""
    prompt_families = list(dict.fromkeys(arm.prompt_family for arm in findings.arms.values()))
    if len(prompt_families) < 2:
        return None
    sealed = [contrast.framing for contrast in findings.plan.contrasts if contrast.framing]
    if not sealed:
        return None
    low, high = sealed[0]
    points = _frontier_points(findings, "assert_true")
    leakage = findings.steps[findings.steps["name"] == "advantage/leakage"]
    figure = Figure(figsize=(5.5, 3.6))
    axes = figure.subplots()
    for i, prompt_family in enumerate(prompt_families):
        scalar, span, _ = _framing_arms(findings, prompt_family)
        if scalar is None or span is None:
            continue
        for seed in findings.seeds:
            pair = points.get((span.code, seed)), points.get((scalar.code, seed))
            if pair[0] is None or pair[1] is None:
                continue
            own = leakage[(leakage["arm"] == scalar.code) & (leakage["seed"] == seed)]["value"].mean()
            gap = pair[0].area(low, high) - pair[1].area(low, high)
            label = prompt_family if seed == findings.seeds[0] else "_"
            axes.plot(own, gap, "o", color=COLOURS[i], label=label)
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xlabel("leakage λ of the scalar, mean over steps")
    axes.set_ylabel(f"true answers: span - scalar,\nmean over framings {low:g} to {high:g}")
    legend_beside(axes)
    return figure


def _by_noise(findings: Findings) -> Figure | None:
    noisy = [arm for arm in findings.arms.values() if arm.feedback and arm.feedback.span_noise]
    if not noisy:
        return None
    scalar, span, random = _framing_arms(findings, noisy[0].prompt_family)
    shares = {
        arm.code: arm.feedback.span_noise
        for arm in (*noisy, span)
        if arm is not None and arm.feedback is not None
    }
    figure = Figure(figsize=(9.5, 3.4))
    panels = figure.subplots(1, 3)
    for axes, (measure, label) in zip(
        panels,
        ((FRAMING, "framing"), ("assert_true", "true answers"), ("belief_margin", "belief (nats)")),
        strict=True,
    ):
        rows = findings.at_end(measure, "penalised").set_index("arm")[["estimate", "low", "high"]]
        for code, share in shares.items():
            estimate, low, high = rows.loc[code].to_numpy(dtype=float)
            if np.isfinite(low):
                axes.plot([share] * 2, [low, high], color="#0072B2", lw=1.2)
            axes.plot(share, estimate, "o", color="#0072B2")
        for arm, ink in ((scalar, "#D55E00"), (random, SHAM_INK)):
            if arm is not None:
                name = findings.label(arm.code)
                axes.axhline(rows["estimate"][arm.code], color=ink, ls="--", lw=1.2, label=name)
        axes.set_xlabel("share of spans that are random")
        axes.set_title(label, fontsize=10)
    legend_below(panels[1])
    return figure


def _areas(findings: Findings) -> list[str]:
    """The mean knowledge over the framings that every arm with a gain in framing reaches."""
    points = _frontier_points(findings, "belief_margin")
    gaining = {
        key: frontier
        for key, frontier in points.items()
        if frontier.best - float(frontier.framing[0]) >= _WORTH_A_RANGE
    }
    if not gaining:
        return []
    shared = common_range(list(gaining.values()))
    if shared is None:
        return [
            "No framing was reached by all arms that gained any, so there is no common area under the frontier."
        ]
    areas = pd.Series({key: frontier.area(*shared) for key, frontier in gaining.items()})
    means = areas.groupby(level=0).mean()
    listed = ", ".join(
        f"{findings.in_words(arm)} {number(means[arm])}" for arm in findings.arms if arm in means.index
    )
    return [
        f"Mean belief (nats) over the framings that all these arms reached ({shared[0]:.2f} to {shared[1]:.2f}; area under "
        f"the frontier per unit of framing, mean over seeds): {listed}."
    ]


def _limits(findings: Findings) -> list[str]:
    limits = _areas(findings)
    gates = findings.steps[findings.steps["name"] == "critique_gate"]
    if len(gates):
        worst = float(gates["value"].min())
        verdict = "so learning from critiques was tested" if worst >= 0.3 else "below .30: not testable"
        limits.append(
            f"A critique raises the start model's P(considerate) by {worst:.2f} or more (asked: .30), {verdict}."
        )
    limits.append(
        "Leakage λ is the pressure of the advantage on content tokens. It says nothing of what a model says next after "
        "another opening: where good openings were learned together with evasions, better framing alone can bring evasions."
    )
    of_start = [a.code for a in findings.arms.values() if a.method in ("edit pairs", "well-put answers")]
    if of_start:
        limits.append(
            f"{' and '.join(findings.in_words(code) for code in of_start)} learn from samples of the start model, as many "
            "as the other arms have judged; they are not on-policy, so compare them along KL."
        )
    return limits


VIEW = View(
    columns=(
        Column("framing", FRAMING, "penalised", bounds=True),
        Column("belief", "belief_margin", "penalised", bounds=True),
        Column("true", "assert_true", "penalised"),
        Column("false", "assert_false", "penalised"),
        Column("hedges", "hedged/any", "penalised"),
        Column("bits", "bits", "penalised"),
        Column("rude", "penalty/insensitive framing", "penalised"),
    ),
    note="Framing is by a rater that no arm is trained on (0 to 1), and belief is in nats. True, false, hedges and rude "
    "are shares of responses, and bits are per answer. All are on the facts whose questions were trained.",
    plots=(
        Plot(
            "Knowledge against framing, along training",
            "Every line is one seed, from the start model on, and its dot is where it ended. Answers further to the right are "
            "put better. A line that falls pays for this with knowledge.",
            _frontier,
        ),
        Plot(
            "Where each arm ended",
            "Means on the trained facts at the last step, with 95% intervals (t over seeds; with one seed, over subjects). The "
            "black line is the start model.",
            _outcomes,
        ),
        Plot(
            "Leakage along training",
            "Leakage λ is the covariance of the advantage on content tokens with asserting the truth, within groups and per "
            "unit of the latter's variance. Below 0, feedback pushes against true answers. Lines are means over five steps, and "
            "bands go from the lowest seed to the highest.",
            _leakage,
        ),
        Plot(
            "Which tokens the advantage reached",
            "Framing tokens are the opening, content tokens what is said, and other tokens are neither.",
            _credit,
        ),
        Plot(
            "Reward and framing along the distance from the start model",
            "The rater on the left trains, the one on the right does not. Every line is one seed.",
            _gold_and_proxy,
        ),
        Plot(
            "The gap between span and scalar, by the scalar's leakage",
            "Every point is one prompt family and seed. The prediction is that the gap grows as λ falls below 0, and vanishes "
            "at 0.",
            _by_prompt_family,
        ),
        Plot(
            "Span noise",
            "Feedback on the framing tokens, with the spans of a share of responses replaced by random ones. The dashed lines "
            "are the scalar, and random spans throughout.",
            _by_noise,
        ),
    ),
    limits=_limits,
)
