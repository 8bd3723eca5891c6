"""Runs under the same folds as rows of one table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.cohort.table import Cohort
from napari_harm3.experiments.published import general_caveats, published
from napari_harm3.experiments.recipe import OURS, Recipe
from napari_harm3.models.checkpoint import read_about
from napari_harm3.models.registry import model_entry
from napari_harm3.report.comparison_rows import Comparison, Cost, MethodRow
from napari_harm3.training.held_out import HeldOut, read_held_out, require_same_cases
from napari_harm3.training.run import fold_folders
from napari_harm3.training.statistics import against
from napari_harm3.training.subgroups import Subgroup, subgroups

GROUPED = ("center", "site", "subsite", "sex")
"""Columns by whose values the figures are told apart, where a cohort has them."""

MOST_GROUPS = 8
"""A column with more values than this is no grouping."""


def compare(
    recipe: Recipe,
    runs: Mapping[str, Path],
    cohort: Cohort,
    *,
    repeats: int = 1,
    notes: Sequence[str] = (),
) -> Comparison:
    """Return a table's rows from finished runs.

    Parameters
    ----------
    recipe
        Which table.
    runs
        The run folder of each of its methods.
    cohort
        What they were trained on.
    repeats
        Of the cross-validation.
    notes
        Sentences to stand under the table.

    Raises
    ------
    ModelError
        If a run was not trained to its end.
    TrainingError
        If two runs held out other cases, or in other folds.
    """
    scores = {name: read_held_out(runs[name]) for name in recipe.methods}
    for name, held_out in scores.items():
        require_same_cases(held_out, scores[OURS], names=(name, OURS))
    others = {name: one.folds for name, one in scores.items() if name != OURS}
    tests = against(scores[OURS].folds, others, repeats=repeats)
    rows = []
    for name in recipe.methods:
        row = method_row(name, runs[name], scores[name], cohort)
        printed = published(name, table=recipe.number)
        rows.append(
            replace(
                row,
                against=tests.get(name),
                reported=None if printed is None else printed.reported,
            )
        )
    about = read_about(fold_folders(runs[OURS])[0])
    return Comparison(
        name=recipe.name,
        title=recipe.title,
        rows=tuple(rows),
        cohort=cohort.name,
        made_up=cohort.made_up,
        untrained_encoder=bool(about["untrained_encoder"]),
        caveats=tuple(general_caveats()),
        notes=tuple(notes),
    )


def method_row(name: str, run: Path, held_out: HeldOut, cohort: Cohort) -> MethodRow:
    """Return what a run came to: figures, cost and subgroups."""
    entry = model_entry(name)
    return MethodRow(
        name=name,
        title=entry.title,
        modalities=entry.modalities,
        metrics=json.loads((run / "metrics.json").read_text(encoding="utf-8")),
        folds=held_out.folds,
        cost=cost_of_run(run),
        subgroups=tuple(_subgroups(held_out, cohort)),
    )


def cost_of_run(run: Path) -> Cost:
    """Return what a run's folds noted of their cost: means, and the highest peak.

    On a GPU the clock counts, elsewhere the processor, which others may share.
    """
    folds = [read_about(folder) for folder in fold_folders(run)]
    costs: list[dict[str, Any]] = [about["cost"] for about in folds]
    on_gpu = costs[0].get("device") == "cuda"
    seconds = "seconds" if on_gpu else "cpu_seconds"
    peaks = [cost["peak_memory_mb"] for cost in costs]
    return Cost(
        parameters=costs[0]["parameters"],
        flops=costs[0]["flops"],
        seconds_per_epoch=float(
            np.mean([about[seconds] / max(about["epochs"], 1) for about in folds])
        ),
        timed="GPU" if on_gpu else "CPU",
        peak_memory_mb=max((peak for peak in peaks if peak is not None), default=None),
    )


def _subgroups(held_out: HeldOut, cohort: Cohort) -> list[Subgroup]:
    found: list[Subgroup] = []
    for column in GROUPED:
        values = {
            case.case_id: case.extra.get(column, "").strip() for case in cohort.cases
        }
        if 1 < len(set(values.values()) - {""}) <= MOST_GROUPS:
            found += subgroups(held_out, values, column=column)
    return found
