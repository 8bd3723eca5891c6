"""The trials of a map as one picture: randomisation, deletion and insertion."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.explain.case import Explanation
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.look import ACCENT, INK, PAPER, plain
from napari_harm3.report.map_figures import TARGETS, map_name
from napari_harm3.report.slide_figure import heading_of

CONTROL, RANDOM = "#d55e00", "#8d99ae"
MOST_NAMES = 10
"""Layers that are named below the axis."""


def check_figure(explanation: Explanation, checks: Mapping[str, Any]) -> Figure:
    """Return what ``checks.json`` says, drawn, with the verdicts in words.

    Parameters
    ----------
    explanation
        Whose map was tried.
    checks
        ``randomisation`` and ``faithfulness``, or one of them; see `explain.checks`.
    """
    cascade = checks.get("randomisation")
    trial = checks.get("faithfulness")
    widths = [2.0] * bool(cascade) + [1.2, 1.2] * bool(trial)
    figure = Figure(
        figsize=(3.0 + 2.6 * sum(widths), 5.2), facecolor=PAPER, layout="constrained"
    )
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    if cascade:
        _draw_cascade(axes[0], cascade)
    if trial:
        _draw_trial(axes[-2:], trial, TARGETS[explanation.config.target])
    name = map_name(explanation.config)
    figure.suptitle(
        f"{heading_of(explanation)}\n{name}: can it be trusted?",
        color=INK,
        fontsize=13,
        fontweight="bold",
    )
    words = [one["verdict"] for one in (cascade, trial) if one and "verdict" in one]
    width = int(42 * sum(widths) * 0.62) + 20
    lines = [textwrap.fill(text, width) for text in words]
    figure.supxlabel(
        "\n".join([*lines, RESEARCH_ONLY]), color=INK, fontsize=9, ha="center"
    )
    return figure


def _draw_cascade(axis: Axes, cascade: Mapping[str, Any]) -> None:
    """Draw likeness against the layers that are random by then."""
    axis.set_title("Does it depend on what was learned?", color=INK, fontsize=11)
    stages = cascade["stages"]
    if not stages:
        _nothing(axis, cascade["verdict"])
        return
    axis.axhspan(cascade["limit"], 1.02, color=CONTROL, alpha=0.08, linewidth=0)
    axis.axhline(cascade["limit"], color=CONTROL, linewidth=1, linestyle=":")
    control = cascade.get("control")
    if control:
        name = f"control: {control['map']}"
        _line(axis, control["stages"], CONTROL, name, "--", end=len(stages))
    passed = {True: "passes", False: "fails", None: "not judged"}[cascade["passed"]]
    _line(axis, stages, ACCENT, f"this map ({passed})", "-", end=len(stages))
    every = -(-len(stages) // MOST_NAMES)
    places = list(range(0, len(stages), every))
    names = ["trained", *(stages[n]["layer"] for n in places)]
    axis.set_xticks([0, *(n + 1 for n in places)], names, rotation=50, fontsize=7)
    for label in axis.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    axis.set_ylim(np.nanmin([-0.3, *_ranks(stages)]) - 0.05, 1.05)
    axis.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.93))
    plain(axis, "random from the output down to here", "likeness (rank correlation)")
    axis.tick_params(axis="x", labelsize=7)
    axis.text(
        0.99,
        cascade["limit"] + 0.02,
        "fails if the line ends in here",
        fontsize=7,
        color=CONTROL,
        ha="right",
        transform=axis.get_yaxis_transform(),
    )


def _line(
    axis: Axes,
    stages: Sequence[Mapping[str, Any]],
    colour: str,
    name: str,
    style: str,
    *,
    end: int,
) -> None:
    """Draw stages evenly from the trained network to the one that is all random."""
    axis.plot(
        np.linspace(0, end, len(stages) + 1),
        [1.0, *_ranks(stages)],
        style,
        color=colour,
        linewidth=2,
        marker="o",
        markersize=3,
        label=name,
    )


def _ranks(stages: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return likenesses; a gap where no map was left to compare."""
    ranks = [stage["rank_correlation"] for stage in stages]
    return [np.nan if rank is None else rank for rank in ranks]


def _draw_trial(axes: Sequence[Axes], trial: Mapping[str, Any], target: str) -> None:
    titles = {"deletion": "Taken out", "insertion": "Put in"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        if name not in trial:
            _nothing(axis, trial["not_applicable"])
            continue
        curve, share = trial[name], 100 * np.array(trial["share"])
        axis.fill_between(
            share,
            curve["random_low"],
            curve["random_high"],
            color=RANDOM,
            alpha=0.25,
            linewidth=0,
            label="90 % of random blobs",
        )
        axis.plot(share, curve["random_mean"], "--", color=RANDOM, label="random, mean")
        axis.plot(share, curve["evident"], color=ACCENT, linewidth=2, label="this map")
        axis.set_title(
            f"{title}\narea {curve['area']:+.3f}, p {curve['p']:.3f}",
            color=INK,
            fontsize=10,
        )
        plain(axis, f"voxels {title.lower()}, %")
    if "deletion" in trial:
        axes[0].legend(
            frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.2)
        )
    axes[0].set_ylabel(f"log-odds of {target}", color=INK, fontsize=9)


def _nothing(axis: Axes, text: str) -> None:
    axis.set_axis_off()
    axis.text(
        0.5,
        0.5,
        textwrap.fill(text, 28),
        ha="center",
        va="center",
        color=INK,
        transform=axis.transAxes,
    )
