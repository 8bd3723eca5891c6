"""Agreement over a cohort: one row a case, volume and label, and what they add up to.

Intervals draw patients, never rows: the cases, volumes and labels of one patient go
together.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import UInt16

from napari_harm3.cohort.case import PARTS
from napari_harm3.explain.agreement import (
    CHOSEN,
    FALSE_ENERGY,
    MEASURES,
    NO_EVIDENCE,
    UNION,
    normalised_score,
)
from napari_harm3.explain.measures import iou_name, iou_of
from napari_harm3.explain.thresholds import SHARES

DRAWS = 2000
MODEL = "model"
"""Name of the model's own map among the others."""

FIGURES = ("value", "chance", "ceiling", "normalised")
ABOUT = (
    "case_id",
    "patient",
    "map",
    "role",
    "sequence",
    "time",
    "label",
    "pcr",
    "correct",
    "lesion_ml",
    "size",
    "outside",
    "magnitude",
    "magnitude_relative_to_pre",
    "not_applicable",
)
NOTES = (f"{FALSE_ENERGY}_not_applicable", "chosen_share", "chosen_not_applicable")
COLUMNS = (
    *ABOUT,
    *(f"{name}_{figure}" for name in (*MEASURES, FALSE_ENERGY) for figure in FIGURES),
    *NOTES,
)
"""Of ``agreement.csv``, in order."""

SIZES = ("small", "medium", "large")
STRATA = ("size", "pcr", "correct", "sequence", "time")

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


def case_rows(
    case_id: str,
    agreement: Mapping[str, Mapping[str, Any]],
    *,
    patient: str | None = None,
    pcr: int | None = None,
    decision: bool | None = None,
    map_name: str = MODEL,
) -> list[Row]:
    """Return a case's rows, with every column of `COLUMNS`; what is blank is None.

    Parameters
    ----------
    case_id
        Of the cohort table.
    agreement
        Role to what `agreement.agreement` said; for a volume whose lesion has gone it
        may hold what `gone_lesions.OldPlace` said, too.
    patient
        Whose case it is; without one, a patient of its own.
    pcr, decision
        The outcome, and whether the model said pCR: whether it was right.
    map_name
        ``model``, or the name of another map.
    """
    correct = None
    if pcr is not None and decision is not None:
        correct = int(decision == (pcr == 1))
    rows = []
    for role, measures in agreement.items():
        sequence, time = PARTS[role]
        about = {
            "case_id": case_id,
            "patient": patient or case_id,
            "map": map_name,
            "role": role,
            "sequence": sequence,
            "time": time,
            "pcr": pcr,
            "correct": correct,
        }
        labels = {UNION: measures, **measures.get("labels", {})}
        rows += [
            _row(about | {"label": label}, figures) for label, figures in labels.items()
        ]
    return rows


def with_sizes(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with ``size``: the tertile of ``lesion_ml`` among its label.

    A volume's lesion counts once, however many maps are measured against it.
    """
    by_label: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if row["lesion_ml"] is not None:
            lesions = by_label.setdefault(row["label"], {})
            lesions[row["case_id"], row["role"]] = row["lesion_ml"]
    cuts = {
        name: np.quantile(list(lesions.values()), (1 / 3, 2 / 3))
        for name, lesions in by_label.items()
    }
    return [
        row
        | {
            "size": None
            if row["lesion_ml"] is None
            else SIZES[int((row["lesion_ml"] > cuts[row["label"]]).sum())]
        }
        for row in rows
    ]


def with_choice(
    row: Row, share: float | None, reason: str, curve: Sequence[float] | None
) -> Row:
    """Return a row with Dice and IoU at the share chosen on training cases.

    Parameters
    ----------
    row
        From `case_rows`.
    share, reason
        Of `thresholds.TrainingCurves.choice`.
    curve
        Dice of this row's map at each of `thresholds.SHARES`; None where there is
        nothing to compare.
    """
    if row["not_applicable"] or curve is None:
        return row
    if share is None:
        return row | {"chosen_not_applicable": reason}
    # Chance and ceiling of the best Dice hold for every threshold.
    limits = {figure: row[f"best_dice_{figure}"] for figure in ("chance", "ceiling")}
    entry = {"value": curve[SHARES.index(share)]} | limits
    found: Row = {"chosen_share": share}
    for name, figures in (
        (CHOSEN, entry),
        (iou_name(CHOSEN), {k: iou_of(v) for k, v in entry.items()}),
    ):
        found |= {f"{name}_{figure}": value for figure, value in figures.items()}
        found[f"{name}_normalised"] = normalised_score(**figures)
    return row | found


def summary(
    rows: Rows,
    *,
    measures: Sequence[str] = MEASURES,
    strata: Sequence[str] = STRATA,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Row]:
    """Return mean and interval of each measure, over all rows and in each stratum.

    Rows of different maps and labels are never averaged.

    Parameters
    ----------
    rows
        From `case_rows` and `with_sizes`.
    measures
        Of `MEASURES`, or ``false_energy``.
    strata
        Columns whose values part the rows.
    draws, seed
        Of the bootstrap by patient.

    Returns
    -------
    :
        Rows of ``map``, ``label``, ``stratum``, ``stratum_value``, ``measure``,
        ``cases``, ``rows``, and ``left_out``, how many rows more have a lesion but a
        map without evidence; ``mean``, ``ci_low``, ``ci_high`` of the value;
        ``chance``, ``ceiling``; and ``normalised`` with its interval. Undefined is
        None, as where the map has no evidence in any volume.
    """
    found = []
    for chosen, about in _parts(rows, strata):
        for measure in measures:
            own = [row for row in chosen if row[f"{measure}_value"] is not None]
            gone = f"{FALSE_ENERGY}_" if measure == FALSE_ENERGY else ""
            silent = [r for r in chosen if r[f"{gone}not_applicable"] == NO_EVIDENCE]
            if not own and not silent:
                continue
            value, scaled = (
                mean_by_patient(own, f"{measure}_{figure}", draws=draws, seed=seed)
                for figure in ("value", "normalised")
            )
            found.append(
                about
                | {"measure": measure, "cases": value["cases"], "rows": len(own)}
                | {"left_out": len(silent)}
                | {key: value[key] for key in ("mean", "ci_low", "ci_high")}
                | {
                    figure: _mean(own, f"{measure}_{figure}")
                    for figure in ("chance", "ceiling")
                }
                | {
                    "normalised": scaled["mean"],
                    "normalised_ci_low": scaled["ci_low"],
                    "normalised_ci_high": scaled["ci_high"],
                }
            )
    return found


def against(
    rows: Rows,
    measure: str,
    *,
    baseline: str,
    map_name: str = MODEL,
    label: str = UNION,
    seed: int = 0,
) -> Row:
    """Return by how much a map's measure differs from a baseline's, volume by volume.

    ``mean``, ``ci_low``, ``ci_high`` and ``cases``, of the volumes that have both;
    ``left_out``, how many have one of the two, as where a map shows no evidence.
    """
    column = f"{measure}_value"
    by_map: dict[str, dict[tuple[str, str], Mapping[str, Any]]]
    by_map = {baseline: {}, map_name: {}}
    for row in rows:
        if row["label"] == label and row[column] is not None and row["map"] in by_map:
            by_map[row["map"]][row["case_id"], row["role"]] = row
    mine, theirs = by_map[map_name], by_map[baseline]
    pairs = [
        {**row, "difference": row[column] - theirs[volume][column]}
        for volume, row in mine.items()
        if volume in theirs
    ]
    left_out = len(mine.keys() ^ theirs.keys())
    return mean_by_patient(pairs, "difference", seed=seed) | {"left_out": left_out}


def mean_by_patient(
    rows: Rows, column: str, *, draws: int = DRAWS, seed: int = 0
) -> Row:
    """Return ``mean``, ``ci_low``, ``ci_high`` and ``cases`` of a column.

    The interval (95 %, percentiles) draws patients with all their rows; rows where the
    column is None do not count. Of fewer than two patients there is no interval.
    """
    own = [row for row in rows if row[column] is not None]
    if not own:
        return {"mean": None, "ci_low": None, "ci_high": None, "cases": 0}
    names, patient = np.unique([row["patient"] for row in own], return_inverse=True)
    values = np.array([row[column] for row in own], dtype=float)
    sums = np.bincount(patient, values, minlength=len(names))
    counts = np.bincount(patient, minlength=len(names))
    low = high = None
    if len(names) > 1:
        weight = _draws(len(names), draws, seed)
        means = (weight @ sums) / (weight @ counts)
        low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return {
        "mean": float(values.mean()),
        "ci_low": low,
        "ci_high": high,
        "cases": len({row["case_id"] for row in own}),
    }


@lru_cache(maxsize=16)
def _draws(
    patients: int, draws: int, seed: int
) -> UInt16[np.ndarray, "draws patients"]:
    """Return how often each draw takes each patient; many means share these draws."""
    shares = np.full(patients, 1 / patients)
    drawn = np.random.default_rng(seed).multinomial(patients, shares, size=draws)
    return drawn.astype(np.uint16)


def _row(about: Mapping[str, Any], figures: Mapping[str, Any]) -> Row:
    row: Row = dict.fromkeys(COLUMNS) | dict(about)
    for key in ("lesion_ml", "outside", "not_applicable"):
        row[key] = figures.get(key)
    magnitude = figures.get("magnitude", {})
    row["magnitude"] = magnitude.get("value")
    row["magnitude_relative_to_pre"] = magnitude.get("relative_to_pre")
    row[f"{FALSE_ENERGY}_not_applicable"] = figures.get(FALSE_ENERGY, {}).get(
        "not_applicable"
    )
    normalised = figures.get("normalised", {})
    for name in (*MEASURES, FALSE_ENERGY):
        entry = figures.get(name, {})
        if "value" not in entry:
            continue
        for figure in ("value", "chance", "ceiling"):
            row[f"{name}_{figure}"] = entry[figure]
        row[f"{name}_normalised"] = normalised.get(name)
    return row


def _parts(rows: Rows, strata: Sequence[str]) -> list[tuple[Rows, dict[str, Any]]]:
    """Return the rows of each map and label, whole and stratum by stratum."""
    parts: list[tuple[Rows, dict[str, Any]]] = []
    for name, label in dict.fromkeys((row["map"], row["label"]) for row in rows):
        own = [row for row in rows if (row["map"], row["label"]) == (name, label)]
        about = {"map": name, "label": label}
        parts.append((own, about | {"stratum": "all", "stratum_value": ""}))
        for stratum in strata:
            for value in _values(own, stratum):
                chosen = [row for row in own if row[stratum] == value]
                parts.append(
                    (chosen, about | {"stratum": stratum, "stratum_value": value})
                )
    return parts


def _values(rows: Rows, column: str) -> list[Any]:
    order: Callable[[Any], Any] = SIZES.index if column == "size" else str
    return sorted({row[column] for row in rows if row[column] is not None}, key=order)


def _mean(rows: Rows, column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return float(np.mean(values)) if values else None
