"""The tables, page and figure of a cohort's agreement."""

import csv
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.artifacts import write_bytes, write_csv
from napari_harm3.explain.agreement import FALSE_ENERGY, MEASURES, UNION
from napari_harm3.explain.agreement_cohort import (
    COLUMNS,
    MODEL,
    against,
    summary,
)
from napari_harm3.explain.link_table import ORIGIN
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.agreement_tables import MAPS, NAMES, summary_html
from napari_harm3.report.look import ACCENT, INK, PAPER, origin_note, plain
from napari_harm3.report.page import as_png, image, warnings, write_page
from napari_harm3.report.tables import html_table, interval, number

Row = Mapping[str, Any]

TABLES = {
    "agreement": "agreement.csv",
    "summary": "agreement-summary.csv",
    "against": "agreement-against.csv",
}
PAGE, FIGURE = "agreement.html", "agreement.png"
AGAINST = ("measure", "baseline", "cases", "left_out", "mean", "ci_low", "ci_high")
BEATS = ("measure", "baseline", "mean", "95 % CI", "cases", "volumes left out")

FIGURES = (
    "mean",
    "ci_low",
    "ci_high",
    "chance",
    "ceiling",
    "normalised",
    "normalised_ci_low",
    "normalised_ci_high",
)
SUMMARY = ("map", "label", "stratum", "stratum_value", "measure", "cases", *FIGURES)
"""What no summary lacks, whichever version wrote it."""

SHOWN = ("pointing_game_half_cell", "energy", "best_dice", "auc", "ap")
"""Measures of the figure: one of each question, on the scale from chance to ceiling."""

COLOURS = {
    MODEL: ACCENT,
    "occlusion": "#007f5c",
    "uniform": "#8d99ae",
    "centre": "#a06a00",
    "intensity": "#d55e00",
    "difference": "#a3487f",
}
NOTHING = "No annotated lesion that a map could agree with."


def write_cohort_agreement(
    out: Path, rows: Sequence[Row], *, trained_on: str, made_up: bool
) -> dict[str, str]:
    """Write tables, page and figure; return where they lie.

    Parameters
    ----------
    out
        Folder of the cohort's explanations.
    rows
        Of `explain.record.cohort_rows`.
    trained_on, made_up
        What the model has learned from; the page and each row say it.
    """
    means = summary(rows, measures=(*MEASURES, FALSE_ENERGY))
    beats = _against(rows)
    tables = {
        "agreement": (rows, COLUMNS),
        "summary": (means, tuple(means[0]) if means else ("measure",)),
        "against": (beats, AGAINST),
    }
    for name, (lines, columns) in tables.items():
        told = [{**line, ORIGIN: trained_on} for line in lines]
        write_csv(out / TABLES[name], told, (*columns, ORIGIN))
    picture = as_png(cohort_figure(means, made_up=made_up))
    write_bytes(out / FIGURE, picture)
    cases = len({row["case_id"] for row in rows})
    parts = [
        "<h1>Do the maps agree with the annotations?</h1>",
        (
            f"<p class=soft>{cases} cases; model trained on {escape(trained_on)}. "
            f"{RESEARCH_ONLY}</p>"
        ),
        warnings(made_up=made_up, untrained_encoder=False),
        image(picture, "Normalised agreement of each map"),
        "<h2>The model's map minus each baseline's, volume by volume</h2>",
        html_table(BEATS, _beats(beats)),
        "<h2>Every measure, every map</h2>",
        summary_html(means),
    ]
    write_page(out / PAGE, "Agreement of heat maps", parts)
    made = TABLES | {"page": PAGE, "agreement_figure": FIGURE}
    return {name: str((out / file).resolve()) for name, file in made.items()}


def read_summary(folder: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a cohort's summary; None if there is none.

    Raises
    ------
    OSError, ValueError, csv.Error
        If it cannot be read, or a row lacks a column.
    """
    path = folder / TABLES["summary"]
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    if any(row.get(name) is None for row in rows for name in SUMMARY):
        raise ValueError(f"a row of {path.name} lacks a column")
    return [
        {key: _number(value) if key in FIGURES else value for key, value in row.items()}
        for row in rows
    ]


def cohort_figure(means: Sequence[Row], *, made_up: bool = False) -> Figure:
    """Return each map's normalised agreement with its interval, measure by measure."""
    chosen = [row for row in means if (row["label"], row["stratum"]) == (UNION, "all")]
    names = [name for name in MAPS if any(row["map"] == name for row in chosen)]
    figure = Figure(figsize=(8.4, 4.2), facecolor=PAPER, layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="#9aa5b1", linewidth=1)
    axis.axvline(1, color="#9aa5b1", linewidth=1, linestyle="--")
    for place, name in enumerate(names):
        offset = (place - (len(names) - 1) / 2) * 0.8 / len(names)
        _draw_map(axis, name, [row for row in chosen if row["map"] == name], offset)
    plain(axis, "normalised: 0 is chance, 1 the ceiling of such cells")
    axis.set_yticks(range(len(SHOWN)), [NAMES[m] for m in SHOWN], color=INK)
    axis.invert_yaxis()
    if names:
        axis.legend(
            frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5)
        )
    else:
        middle = (len(SHOWN) - 1) / 2
        axis.text(0.5, middle, NOTHING, ha="center", color=INK, backgroundcolor=PAPER)
        axis.set_xlim(-0.5, 1.5)
    origin, colour = origin_note(made_up=made_up)
    text = f"Mean over volumes with 95 % intervals by patient. {origin}"
    figure.supxlabel(text, fontsize=8, color=colour)
    return figure


def _draw_map(axis: Axes, name: str, rows: Sequence[Row], offset: float) -> None:
    """Draw a map's figures on the lines of their measures; one patient has no bar.

    A map without any is named all the same.
    """
    there = [r for r in rows if r["measure"] in SHOWN and r["normalised"] is not None]
    ends = ("normalised_ci_low", "normalised", "normalised_ci_high")
    # None becomes not a number, of which no bar is drawn.
    low, centre, high = np.array([[r[e] for r in there] for e in ends], dtype=float)
    axis.errorbar(
        centre,
        np.array([SHOWN.index(r["measure"]) for r in there]) + offset,
        # By rounding, an end may lie on the wrong side of the mean.
        xerr=np.maximum([centre - low, high - centre], 0),
        fmt="o" if name == MODEL else "s",
        color=COLOURS[name],
        markersize=7 if name == MODEL else 4.5,
        linewidth=2 if name == MODEL else 1,
        label=MAPS[name] if there else f"{MAPS[name]}: no figure",
    )


def _against(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return by how much the model's map differs from each baseline, by measure."""
    others = [name for name in dict.fromkeys(r["map"] for r in rows) if name != MODEL]
    found = []
    for measure in (*MEASURES, FALSE_ENERGY):
        for baseline in others:
            row = against(rows, measure, baseline=baseline)
            if row["cases"] or row["left_out"]:
                found.append({"measure": measure, "baseline": baseline} | row)
    return found


def _beats(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            NAMES[row["measure"]],
            MAPS[row["baseline"]],
            number(row["mean"]),
            interval(row["ci_low"], row["ci_high"]),
            str(row["cases"]),
            str(row["left_out"]),
        ]
        for row in rows
        if row["measure"] in SHOWN
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None
