"""Figures and tables as people read them."""

from collections.abc import Iterable, Mapping, Sequence
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

Row = Sequence[str]


def metrics_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return name, mean, sd, interval and pooled value of every metric."""
    return [
        [
            name,
            number(metrics[key]["mean"]),
            number(metrics[key]["sd"]),
            interval(*metrics[key]["ci95"]),
            number(metrics[key]["pooled"]),
        ]
        for key, name in METRICS.items()
    ]


def number(value: float | None) -> str:
    """Return three digits, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return both ends of an interval, or a dash for one that is not defined."""
    return "-" if low is None else f"[{number(low)}, {number(high)}]"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a figure with its interval beside it, alone if there is none."""
    return number(value) if low is None else f"{number(value)} {interval(low, high)}"


def p_text(p: float | None) -> str:
    """Return a p value as people print it."""
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def html_table(header: Row, rows: Iterable[Row]) -> str:
    """Return a table, its text escaped."""
    return html_frame(header, html_rows(rows))


def grouped_table(header: Row, groups: Mapping[str, Sequence[Row]]) -> str:
    """Return a table of groups, a head over each; those without rows are left out."""
    body = "".join(
        f"<tr><th colspan={len(header)}>{escape(title)}</th></tr>{html_rows(rows)}"
        for title, rows in groups.items()
        if rows
    )
    return html_frame(header, body)


def html_rows(rows: Iterable[Row]) -> str:
    """Return the body of a table, its text escaped."""
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return "".join(f"<tr>{row}</tr>" for row in cells)


def html_frame(header: Row, body: str, *, style: str = "") -> str:
    """Return a table around rows that are HTML already; a style is of ``page.css``."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    kind = f" class={style}" if style else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
