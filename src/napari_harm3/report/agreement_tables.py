"""Agreement for people: every measure in its group, between chance and ceiling."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from napari_harm3.explain.agreement import LESS_IS_BETTER, UNION, normalised_score
from napari_harm3.mri.labels import LABELS
from napari_harm3.report.page import details
from napari_harm3.report.tables import number

GROUPS: dict[str, dict[str, str]] = {
    "Does it point there?": {
        "pointing_game": "pointing game",
        "pointing_game_half_cell": "pointing game, within half a cell",
        "peak_distance_mm": "peak to lesion, mm",
        "centroid_distance_mm": "centre to centre, mm",
    },
    "How much of it lies there?": {
        "energy": "energy in the lesion",
        "energy_gain": "energy, times chance",
    },
    "Does it cover the lesion?": {
        "dice_25": "Dice at 25 % of the peak",
        "dice": "Dice at 50 %",
        "dice_75": "Dice at 75 %",
        "dice_chosen": "Dice, chosen on training cases",
        "best_dice": "Dice at its best",
        "iou_25": "IoU at 25 % of the peak",
        "iou": "IoU at 50 %",
        "iou_75": "IoU at 75 %",
        "iou_chosen": "IoU, chosen on training cases",
    },
    "Does it rank the lesion first?": {"auc": "ROC-AUC", "ap": "average precision"},
    "Where a lesion has gone": {"false_energy": "false energy in its old place"},
}
"""Measures by the question that they answer."""

NAMES = {key: name for group in GROUPS.values() for key, name in group.items()}
HEADER = ("", "value", "chance", "ceiling", "normalised")
MAPS = {
    "model": "the model's map",
    "occlusion": "occlusion",
    "uniform": "even everywhere",
    "centre": "middle of the picture",
    "intensity": "bright tissue",
    "difference": "post minus pre",
}
"""Names of maps, for people."""

LEGEND = (
    "Chance is a map that says nothing; the ceiling is the best map of such cells. "
    "Normalised is 0 at chance and 1 at the ceiling; below 0 the map is worse than one "
    "that says nothing. Of distances, less is better. False energy is no measure of "
    "skill: that a lesion has gone may itself be the sign that the model sees."
)


def entries(measures: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return every measure of a volume or label with its normalised score, in order."""
    found: dict[str, dict[str, float | None]] = {}
    for name in NAMES:
        entry = measures.get(name)
        if entry is not None and "value" in entry:
            found[name] = dict(entry) | {"normalised": normalised_score(**entry)}
    return found


def grouped_table(measures: Mapping[str, Any]) -> str:
    """Return one table of a volume or label, a head for each question, as HTML."""
    found, body = entries(measures), ""
    for question, group in GROUPS.items():
        names = [name for name in group if name in found]
        if not names:
            continue
        body += f"<tr><th colspan={len(HEADER)}>{escape(question)}</th></tr>"
        body += "".join(_row(group[name], found[name]) for name in names)
    if not body:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in HEADER)
    return f"<table class=agreement><thead><tr>{head}</tr></thead>{body}</table>"


def agreement_html(agreement: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Return all volumes: the union of labels, and each label to be opened."""
    parts = []
    for role, measures in agreement.items():
        parts.append(f"<h3>{escape(titles[role])}</h3>")
        reason = measures.get("not_applicable")
        if reason:
            parts.append(f"<p>Not applicable: {escape(reason)}.</p>")
        parts += [grouped_table(measures), _gone(measures)]
        for label in LABELS.values():
            own = measures.get("labels", {}).get(label)
            table = grouped_table(own) if own else ""
            if table:
                parts.append(details(f"{titles[role]}: {label} alone", table))
    return "".join(parts) + f"<p class=soft>{escape(LEGEND)}</p>"


def summary_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a cohort's means by map, all cases first and then each stratum.

    Parameters
    ----------
    rows
        Of ``agreement-summary.csv``, the union of labels among them.
    """
    rows = [row for row in rows if row["label"] == UNION]
    strata = list(dict.fromkeys((row["stratum"], row["stratum_value"]) for row in rows))
    parts = []
    for stratum, value in strata:
        chosen = [
            r for r in rows if (r["stratum"], r["stratum_value"]) == (stratum, value)
        ]
        table = _summary_table(chosen)
        if stratum == "all":
            parts.append(table)
        else:
            parts.append(details(f"{stratum}: {value}", table))
    return "".join(parts) + f"<p class=soft>{escape(LEGEND)}</p>"


def _summary_table(rows: Sequence[Mapping[str, Any]]) -> str:
    by_measure: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_measure.setdefault(row["measure"], []).append(row)
    header = ("map", "mean", "95 % CI", "chance", "ceiling", "normalised", "cases")
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = ""
    for name, title in NAMES.items():
        if name not in by_measure:
            continue
        better = " (less is better)" if name in LESS_IS_BETTER else ""
        body += f"<tr><th colspan={len(header)}>{escape(title + better)}</th></tr>"
        body += "".join(_summary_row(row) for row in by_measure[name])
    return f"<table class=agreement><thead><tr>{head}</tr></thead>{body}</table>"


def _summary_row(row: Mapping[str, Any]) -> str:
    interval = (
        "-"
        if row["ci_low"] is None
        else f"{number(row['ci_low'])} to {number(row['ci_high'])}"
    )
    cells = [
        MAPS.get(row["map"], row["map"]),
        number(row["mean"]),
        interval,
        *(number(row[key]) for key in ("chance", "ceiling", "normalised")),
        str(row["cases"]),
    ]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _row(name: str, entry: Mapping[str, float | None]) -> str:
    figures = [number(entry[key]) for key in HEADER[1:]]
    cells = "".join(f"<td>{cell}</td>" for cell in (escape(name), *figures))
    return f"<tr>{cells}</tr>"


def _gone(measures: Mapping[str, Any]) -> str:
    """Return what is to be said of a map of a volume whose lesion has gone."""
    if "false_energy" not in measures:
        return ""
    said = []
    reason = measures["false_energy"].get("not_applicable")
    if reason:
        said.append(f"False energy is not applicable: {escape(reason)}.")
    relative = measures["magnitude"]["relative_to_pre"]
    if relative is not None:
        said.append(
            f"The map is {relative:.2f} times as strong as that before therapy."
        )
    return f"<p>{' '.join(said)}</p>" if said else ""
