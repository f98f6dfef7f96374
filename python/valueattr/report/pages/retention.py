"""The page of E1: what the model believes, says, and still holds."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from valueattr.rating import OUTCOMES
from valueattr.report._drawing import (
    SPLITS,
    Column,
    Plot,
    View,
    arm_axis,
    colour,
    dots,
    legend_below,
    legend_beside,
)
from valueattr.report._findings import Findings, bounded

_MOST_LAYERS_NAMED = 16
_OUTCOME_COLOURS = dict(zip(OUTCOMES, ["#009E73", "#D55E00", "#F0E442", "#56B4E9", "#BBBBBB"], strict=True))


def _belief(findings: Findings) -> Figure | None:
    rows = findings.at_end("belief_margin")
    figure = Figure(figsize=(9, 0.45 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    measures = findings.run.table("measures")
    floor = measures[
        (measures["measure"] == "belief_margin")
        & (measures["split"] == "never_taught")
        & (measures["step"] == 0)
    ]
    for axes, split in zip(panels, ("penalised", "untouched", "held_out"), strict=True):
        part = rows[rows["split"] == split]
        if len(floor):
            axes.axvline(floor["value"].quantile(0.95), color="#777777", ls=":", lw=1)
        reference = part[part["arm"] == findings.start]
        if len(reference):
            axes.axvline(float(reference["estimate"].iloc[0]), color="black", lw=0.8)
        dots(axes, findings, part)
        axes.set_title(SPLITS[split], fontsize=10)
        axes.set_xlabel("belief margin (nats)")
    arm_axis(panels[0], findings)
    return figure


def _probes(findings: Findings) -> Figure | None:
    layer = findings.best_layer
    if layer is None:
        return None
    markers = {"attribute_frozen": "o", "attribute_frozen_recentred": "D", "attribute_refit": "s"}
    floor = findings.at_end("attribute_refit", "never_taught")
    floor = floor[(floor["arm"] == findings.start) & (floor["layer"] == layer)]
    figure = Figure(figsize=(9, 0.5 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    for axes, split in zip(panels, ("penalised", "untouched", "never_taught"), strict=True):
        axes.axvline(findings.chance, color="#777777", ls="--", lw=1, label="chance")
        for value in floor["estimate"]:
            axes.axvline(value, color="#777777", ls=":", lw=1, label="never taught")
        for offset, (measure, marker) in zip((-0.25, 0.0, 0.25), markers.items(), strict=True):
            rows = findings.at_end(measure, split)
            dots(axes, findings, rows[rows["layer"] == layer], offset, marker)
        axes.set_title(SPLITS[split], fontsize=10)
        axes.set_xlabel(f"top-1 at layer {layer}")
        axes.set_xlim(-0.03, 1.03)
    for measure, marker in markers.items():
        label = measure.removeprefix("attribute_").replace("_", ", ")
        panels[2].plot(
            [], [], marker, color="#444444", mfc="white" if marker == "D" else "#444444", label=label
        )
    legend_beside(panels[2])
    arm_axis(panels[0], findings)
    return figure


def _layers(findings: Findings) -> Figure | None:
    rows = findings.at_end("attribute_refit", "penalised")
    if rows.empty:
        return None
    figure = Figure(figsize=(7.5, 3.4))
    axes = figure.subplots()
    for i, arm in enumerate(findings.arms):
        part = rows[rows["arm"] == arm].sort_values("layer")
        x, ink = part["layer"] + 0.04 * (i - len(findings.arms) / 2), colour(findings, arm)
        axes.vlines(x, part["low"], part["high"], color=ink, lw=1, alpha=0.6)
        axes.plot(x, part["estimate"], "o-", color=ink, label=findings.label(arm), ms=4, lw=1.2)
    axes.axhline(findings.chance, color="#777777", ls="--", lw=1, label="chance")
    floor = findings.at_end("attribute_refit", "never_taught")
    floor = floor[floor["arm"] == findings.start].sort_values("layer")
    axes.plot(floor["layer"], floor["estimate"], ":", color="#777777", label="never taught")
    axes.xaxis.set_major_locator(MaxNLocator(_MOST_LAYERS_NAMED, integer=True))
    axes.set_xlabel("layer (0: embeddings)")
    axes.set_ylabel("refit probe, top-1")
    axes.set_ylim(-0.03, 1.03)
    legend_below(axes, columns=2)
    return figure


def _along_kl(findings: Findings) -> Figure | None:
    """One line per seed: seeds cross a threshold at different steps, so a mean over them would mix distances."""
    keys = ["arm", "seed", "step"]
    kl = findings.steps.loc[findings.steps["name"] == "forward_kl", [*keys, "value"]]
    if kl.empty:
        return None
    rows = findings.run.table("measures")
    rows = rows[rows["measure"] == "belief_margin"].astype({"arm": str, "split": str})
    belief = rows.groupby(["split", *keys])["value"].mean().rename("belief").reset_index()
    starts = belief[belief["arm"] == findings.start].assign(kl=0.0)
    points = belief.merge(kl.rename(columns={"value": "kl"}), on=keys)
    figure = Figure(figsize=(9, 3.4))
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    for axes, split in zip(panels, ("penalised", "held_out"), strict=True):
        here, origins = points[points["split"] == split], starts[starts["split"] == split]
        for arm in findings.arms:
            for i, (seed, line) in enumerate(here[here["arm"] == arm].groupby("seed")):
                line = pd.concat([origins[origins["seed"] == seed], line]).sort_values("kl")
                axes.plot(
                    line["kl"],
                    line["belief"],
                    "o-",
                    ms=3,
                    lw=1.2,
                    alpha=0.75,
                    color=colour(findings, arm),
                    label="_" if i else findings.label(arm),
                )
        axes.set_title(SPLITS[split], fontsize=10)
        axes.set_xlabel("forward KL (nats per token)")
    panels[0].set_ylabel("belief margin (nats)")
    legend_below(panels[1], x=0)
    return figure


def _outcomes(findings: Findings) -> Figure | None:
    figure = Figure(figsize=(9, 0.4 * len(findings.arms) + 1.2))
    splits = [
        split
        for split in ("penalised", "untouched", "false_belief")
        if len(findings.at_end(OUTCOMES[0], split))
    ]
    if not splits:
        return None
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        for i, arm in enumerate(findings.arms):
            left = 0.0
            for outcome in OUTCOMES:
                rows = findings.at_end(outcome, split)
                rows = rows[rows["arm"] == arm]
                share = float(rows["estimate"].iloc[0]) if len(rows) else 0.0
                axes.barh(i, share, left=left, color=_OUTCOME_COLOURS[outcome], height=0.72)
                if share >= 0.12:
                    axes.text(
                        left + share / 2,
                        i,
                        f"{share:.2f}".lstrip("0"),
                        ha="center",
                        va="center",
                        fontsize=7.5,
                    )
                left += share
        axes.set_title(SPLITS[split], fontsize=10)
        axes.set_xlabel("share of responses")
        axes.grid(False)
    for outcome in OUTCOMES:
        panels[-1].barh([0], [0], color=_OUTCOME_COLOURS[outcome], label=outcome.replace("_", " "))
    legend_beside(panels[-1])
    arm_axis(panels[0], findings)
    return figure


def _limits(findings: Findings) -> list[str]:
    start, limits = findings.start, []
    truth = findings.at_end("truth_refit_auroc")
    truth = truth[truth["arm"] == start]
    if len(truth):
        best = truth["estimate"].max()
        if abs(best - 0.5) < 0.1:
            limits.append(
                f"The truth probe cannot read this start model (best AUROC {best:.2f}, chance .50): nothing follows from it."
            )
    selectivity = findings.at_end("selectivity")
    weak = selectivity[(selectivity["arm"] == start) & (selectivity["estimate"] < 0.1)]
    if len(weak):
        layers = ", ".join(str(int(layer)) for layer in sorted(weak["layer"]))
        limits.append(
            f"At layer(s) {layers} the probe reads the object hardly better than a control task (selectivity below .10)."
        )
    untouched = findings.at_end("attribute_refit", "untouched")
    by_layer = untouched[untouched["arm"] == start].set_index("layer")["estimate"]
    layer = findings.best_layer
    if layer is not None and len(by_layer) > 1 and layer == by_layer.index.max():
        last, others = by_layer[layer], by_layer.drop(layer)
        limits.append(
            f"Attributes are read best at the last layer ({last:.2f}, elsewhere {others.max():.2f} at most), "
            "close to the logits: such a probe is hardly a second witness beside belief."
        )
    floor = findings.at_end("attribute_refit", "never_taught")
    floor = floor[(floor["arm"] == start) & (floor["layer"] == findings.best_layer)]
    if len(floor):
        above = float(floor["estimate"].iloc[0]) > findings.chance
        limits.append(
            f"Never-taught facts, which nothing can know, are read at {bounded(floor.iloc[0])}, "
            f"{'above' if above else 'not above'} chance ({findings.chance:.2f}): read the probe from the higher of the two."
        )
    return limits


VIEW = View(
    columns=(
        Column("belief: penalised", "belief_margin", "penalised", bounds=True),
        Column("untouched", "belief_margin", "untouched", bounds=True),
        Column("other topic", "belief_margin", "held_out"),
        Column("neutral", "belief_margin", "neutral"),
        Column("false beliefs", "belief_margin", "false_belief"),
        Column("near answers", "belief_margin/near answers", "penalised"),
        Column("truthful", "assert_true", "penalised"),
        Column("rude", "penalty/insensitive framing", "penalised"),
        Column("probe", "attribute_refit", "penalised", at_best_layer=True),
    ),
    note="Belief is in nats, in statements that share no words with answers; 'near answers' is belief in statements that do. "
    "That in false beliefs is in the falsehood that was taught. "
    "'Truthful' and 'rude' are shares of the responses on penalised facts. The probe is refit, and its column is top-1 on "
    "penalised facts.",
    plots=(
        Plot(
            "What the model believes, by arm",
            "The belief margin of the taught object over its rivals, in statements that were not trained on. "
            "Bars are 95% intervals (t over seeds; with one seed, over subjects). The black line is the start model. The dotted "
            "line is the 95th percentile of never-taught facts; a fact above it counts as known.",
            _belief,
        ),
        Plot(
            "What the responses do",
            "Every sampled response has one of five outcomes. For false beliefs the truth is the other way round: 'assert "
            "false' is what the model was taught.",
            _outcomes,
        ),
        Plot(
            "What the representation still holds",
            "An attribute probe reads the object from the residual stream at the end of a held-out statement, for subjects "
            "it was not fitted on. The layer is the one that reads untouched facts best in the start model. A frozen probe was "
            "fitted on the start model, and a recentred one uses the policy's mean. A refit probe was fitted on the policy. "
            "The dashed line is chance. The dotted line is the floor: never-taught facts in the start model. Bars are 95% "
            "intervals.",
            _probes,
        ),
        Plot(
            "By layer, refit probe on penalised facts",
            "Each layer's probe is fitted on the policy itself. Bars are 95% intervals, with the arms side by side.",
            _layers,
        ),
        Plot(
            "Belief along the distance from the start model",
            "Belief was measured where forward KL from the start model crossed the declared thresholds, and at the end. Every "
            "line is one seed.",
            _along_kl,
        ),
    ),
    limits=_limits,
)
