"""Metrics as tables."""

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
