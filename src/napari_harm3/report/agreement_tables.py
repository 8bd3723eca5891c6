"""Agreement for people: every measure in its group, between chance and ceiling."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from napari_harm3.explain.agreement import FALSE_ENERGY, LESS_IS_BETTER, UNION
from napari_harm3.mri.labels import LABELS
from napari_harm3.report.page import details
from napari_harm3.report.tables import grouped_table, interval, number

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
    "Where a lesion has gone": {FALSE_ENERGY: "false energy in its old place"},
}
"""Measures by the question that they answer."""

NAMES = {key: name for group in GROUPS.values() for key, name in group.items()}
HEADER = ("", "value", "chance", "ceiling", "normalised")
SUMMARY_HEADER = (
    *("map", "mean", "95 % CI", "chance", "ceiling", "normalised"),
    *("cases", "volumes left out"),
)
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
    "that says nothing. A volume is left out where the map shows no evidence in it: no "
    "mean counts it. Of distances, less is better. False energy is no measure of "
    "skill: that a lesion has gone may itself be the sign that the model sees."
)


def entries(measures: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return every measure of a volume or label with its normalised score, in order."""
    normalised = measures.get("normalised", {})
    return {
        name: measures[name] | {"normalised": normalised.get(name)}
        for name in NAMES
        if "value" in measures.get(name, {})
    }


def measures_table(measures: Mapping[str, Any]) -> str:
    """Return one table of a volume or label, a head for each question, as HTML."""
    found = entries(measures)
    if not found:
        return ""
    groups = {
        question: [_row(title, found[n]) for n, title in group.items() if n in found]
        for question, group in GROUPS.items()
    }
    return grouped_table(HEADER, groups)


def agreement_html(agreement: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Return all volumes: the union of labels, and each label to be opened."""
    parts = []
    for role, measures in agreement.items():
        parts.append(f"<h3>{escape(titles[role])}</h3>")
        reason = measures.get("not_applicable")
        if reason:
            parts.append(f"<p>Not applicable: {escape(reason)}.</p>")
        parts += [measures_table(measures), _gone(measures)]
        for label in LABELS.values():
            own = measures.get("labels", {}).get(label)
            table = measures_table(own) if own else ""
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
    groups: dict[str, list[list[str]]] = {}
    for name, title in NAMES.items():
        better = " (less is better)" if name in LESS_IS_BETTER else ""
        own = [_summary_row(row) for row in rows if row["measure"] == name]
        groups[title + better] = own
    return grouped_table(SUMMARY_HEADER, groups)


def _summary_row(row: Mapping[str, Any]) -> list[str]:
    return [
        MAPS.get(row["map"], row["map"]),
        number(row["mean"]),
        interval(row["ci_low"], row["ci_high"]),
        *(number(row[key]) for key in ("chance", "ceiling", "normalised")),
        str(row["cases"]),
        str(row.get("left_out", "")),  # earlier tables do not say it
    ]


def _row(title: str, entry: Mapping[str, float | None]) -> list[str]:
    return [title, *(number(entry[key]) for key in HEADER[1:])]


def _gone(measures: Mapping[str, Any]) -> str:
    """Return what is to be said of a map of a volume whose lesion has gone."""
    if FALSE_ENERGY not in measures:
        return ""
    said = []
    reason = measures[FALSE_ENERGY].get("not_applicable")
    if reason:
        said.append(f"False energy is not applicable: {escape(reason)}.")
    relative = measures["magnitude"]["relative_to_pre"]
    if relative is not None:
        said.append(
            f"The map is {relative:.2f} times as strong as that before therapy."
        )
    return f"<p>{' '.join(said)}</p>" if said else ""
