"""Metrics and agreement as tables."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

METRICS = {
    "auc": "AUC",
    "acc": "ACC",
    "f1": "F1 (pCR)",
    "sen": "SEN",
    "spe": "SPE",
    "f1_macro": "macro-F1",
    "balanced_acc": "balanced ACC",
    "ap": "AP",
    "brier": "Brier",
}
"""The paper's five, then four that it lacks."""

MEASURES = {"pointing_game": "pointing game", "energy": "energy", "dice": "Dice"}


def metrics_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return name, mean, sd, interval and pooled value of every metric."""
    rows = []
    for key, name in METRICS.items():
        entry = metrics[key]
        low, high = entry["ci95"]
        interval = f"{number(low)} to {number(high)}"
        rows.append(
            [
                name,
                number(entry["mean"]),
                number(entry["sd"]),
                interval,
                number(entry["pooled"]),
            ]
        )
    return rows


def agreement_rows(
    agreement: Mapping[str, Any], titles: Mapping[str, str]
) -> list[list[str]]:
    """Return volume, measure, value, chance and ceiling."""
    rows = []
    for role, measures in agreement.items():
        if "not_applicable" in measures:
            rows.append([titles[role], measures["not_applicable"], "", "", ""])
            continue
        for key, name in MEASURES.items():
            entry = measures[key]
            figures = [number(entry[k]) for k in ("value", "chance", "ceiling")]
            rows.append([titles[role], name, *figures])
    return rows


def number(value: float | None) -> str:
    """Return three digits, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its text escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
