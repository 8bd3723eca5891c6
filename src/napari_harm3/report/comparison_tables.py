"""The tables of a comparison, for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from napari_harm3.report.comparison_rows import Comparison, MethodRow, Rows, by_auc
from napari_harm3.report.tables import (
    METRICS,
    html_frame,
    interval,
    number,
    p_text,
    with_interval,
)
from napari_harm3.training.calibration import calibration, confusion
from napari_harm3.training.subgroups import Subgroup

PAPER = {"auc": "auc", "acc": "acc", "f1_macro": "f1", "sen": "sen", "spe": "spe"}
"""Beside which metric of ours a reported figure stands; its F1 is a macro-F1."""

ORDER = ("auc", "acc", "f1", "f1_macro", "sen", "spe", "balanced_acc", "ap", "brier")
LEAST_IS_BEST = ("brier",)
NO_ONE = "Always saying “no pCR”"


@dataclass(frozen=True)
class Cell:
    """One figure: ours, its interval, and the paper's."""

    main: str
    interval: str = ""
    paper: str = ""
    best: bool = False

    @property
    def html(self) -> str:
        """The cell on a page, the best in bold."""
        main = f"<b>{self.main}</b>" if self.best else self.main
        small = f"<span class=small>{self.interval}</span>" if self.interval else ""
        paper = f"<span class=paper>paper {self.paper}</span>" if self.paper else ""
        return f"<td>{main}{small}{paper}</td>"

    @property
    def markdown(self) -> str:
        """The cell in plain text, without the paper's figure."""
        main = f"**{self.main}**" if self.best else self.main
        return f"{main} {self.interval}".strip()


def metric_cells(rows: Rows) -> list[dict[str, Cell]]:
    """Return the cells of each row by metric."""
    best = {key: _best(rows, key) for key in ORDER}
    return [{key: _cell(row, key, best[key]) for key in ORDER} for row in rows]


def metrics_html(comparison: Comparison) -> str:
    """Return the main table as HTML, with the accuracy of always saying "no"."""
    rows = by_auc(comparison.rows)
    head = ["Method"]
    for key in ORDER:
        arrow = "↓" if key in LEAST_IS_BEST else "↑"
        head.append(f"{METRICS[key]} {arrow}")
        if key == "acc":
            head.append("majority ACC")
    body = ""
    for row, cells in zip(rows, metric_cells(rows), strict=True):
        parts = [_method(row)]
        for key in ORDER:
            parts.append(cells[key].html)
            if key == "acc":
                majority = number(row.metrics["majority_acc"])
                parts.append(f"<td class=soft>{majority}</td>")
        kind = " class=reference" if row.name == comparison.reference else ""
        body += f"<tr{kind}>{''.join(parts)}</tr>"
    return _table(head, body + _nobody(rows))


def metrics_markdown(comparison: Comparison) -> str:
    """Return the main table as Markdown, the paper's figures in columns beside."""
    rows = by_auc(comparison.rows)
    head = ["Method", "Inputs"]
    for key in ORDER:
        head += [METRICS[key]] + (["majority ACC"] if key == "acc" else [])
        head += ["paper"] if key in PAPER else []
    lines = []
    for row, cells in zip(rows, metric_cells(rows), strict=True):
        line = [row.title, row.inputs]
        for key in ORDER:
            line.append(cells[key].markdown)
            line += [number(row.metrics["majority_acc"])] if key == "acc" else []
            line += [cells[key].paper or "-"] if key in PAPER else []
        lines.append(line)
    return markdown_table(head, lines)


def against_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of every test against the reference."""
    head = [
        "Method",
        "AUC difference [95 % CI]",
        "DeLong p",
        "Holm p",
        "corrected t p",
        "SEN p",
        "SPE p",
    ]
    lines = []
    for row in by_auc(comparison.rows):
        if row.against is None:
            continue
        found = row.against
        p_values = (
            found.auc.p,
            found.p_holm,
            found.corrected_t.p,
            found.sen_p,
            found.spe_p,
        )
        gap = found.auc.difference
        text = "-" if gap is None else f"{gap:+.3f} {interval(*found.auc.ci95)}"
        lines.append([row.title, text, *map(p_text, p_values)])
    return head, lines


def calibration_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of calibration and of decisions at inner thresholds."""
    head = ["Method", "Brier", "ECE", "slope", "intercept", "in the large"]
    head += ["SEN at inner threshold", "SPE at inner threshold"]
    lines = []
    for row in by_auc(comparison.rows):
        if not row.folds:
            continue
        found, decided = calibration(row.folds), confusion(row.folds)
        figures = (
            found.brier,
            found.ece,
            found.slope,
            found.intercept,
            found.in_the_large,
            decided.sen,
            decided.spe,
        )
        lines.append([row.title, *map(number, figures)])
    return head, lines


def cost_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of what each method takes, where measured."""
    head = ["Method", "parameters", "FLOPs a case", "seconds an epoch", "peak MB"]
    lines = [
        [
            row.title,
            short(row.cost.parameters),
            short(row.cost.flops),
            _formatted(row.cost.seconds_per_epoch, f"{{:.1f}} ({row.cost.timed})"),
            _formatted(row.cost.peak_memory_mb, "{:,.0f}"),
        ]
        for row in by_auc(comparison.rows)
    ]
    return head, [line for line in lines if set(line[1:]) != {"-"}]


def subgroup_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the groups of patients."""
    head = ["Method", "Column", "Group", "n", "pCR", "AUC [95 % CI]", "SEN", "SPE"]
    lines = [
        [row.title, group.column, group.value, str(group.n), *_group_cells(group)]
        for row in by_auc(comparison.rows)
        for group in row.subgroups
    ]
    return head, lines


def caveat_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return header and sentences on each reported row."""
    lines = [
        [row.reported.table, " ".join(row.reported.caveats)]
        for row in comparison.rows
        if row.reported is not None and row.reported.caveats
    ]
    return ["Reported row", "Why it is reported, and no target"], lines


def plain_html(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of text, escaped; long sentences wrap."""
    body = "".join(
        "<tr>" + "".join(_text_cell(cell) for cell in line) + "</tr>" for line in lines
    )
    return _table(head, body)


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    every = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in every
    )


def short(value: int | None) -> str:
    """Return a large number as people say it, such as 33.2 M.

    Examples
    --------
    >>> short(33_160_000)
    '33.2 M'
    """
    if value is None:
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return str(value)


def _cell(row: MethodRow, key: str, best: str | None) -> Cell:
    entry = row.metrics[key]
    mean, (low, high) = number(entry["mean"]), entry["ci95"]
    spread = "" if entry["sd"] is None else f" ({number(entry['sd'])})"
    said = row.reported is not None and key in PAPER
    return Cell(
        main=mean + spread,
        interval="" if low is None else interval(low, high),
        paper=f"{getattr(row.reported, PAPER[key]):.4f}" if said else "",
        best=mean == best,
    )


def _best(rows: Rows, key: str) -> str | None:
    """Return the best figure as printed, so that what looks equal is equal."""
    means = [row.metrics[key]["mean"] for row in rows]
    given = [mean for mean in means if mean is not None]
    choose: Callable[[list[float]], float] = min if key in LEAST_IS_BEST else max
    return number(choose(given)) if len(given) > 1 else None


def _nobody(rows: Rows) -> str:
    """Return the row of the method that always says "no"."""
    share, majority = rows[0].metrics["prevalence"], rows[0].metrics["majority_acc"]
    same = {number(row.metrics["prevalence"]) for row in rows}
    if len(same) > 1 or share > 0.5:
        return ""
    f1_no = 2 * (1 - share) / (2 * (1 - share) + share)
    figures = {"auc": 0.5, "acc": majority, "f1": 0.0, "f1_macro": f1_no / 2}
    figures |= {"sen": 0.0, "spe": 1.0, "balanced_acc": 0.5, "ap": share}
    cells = "".join(
        f"<td>{number(figures.get(key))}</td>" + ("<td></td>" if key == "acc" else "")
        for key in ORDER
    )
    return f"<tr class=nobody><td>{NO_ONE}</td>{cells}</tr>"


def _method(row: MethodRow) -> str:
    return (
        f"<td><b>{escape(row.title)}</b><span class=small>{escape(row.inputs)}"
        "</span></td>"
    )


def _group_cells(group: Subgroup) -> list[str]:
    prevalence = f"{group.positives} ({group.prevalence:.0%})"
    if group.note:
        return [prevalence, group.note, "-", "-"]
    text = with_interval(group.auc, *group.ci95)
    return [prevalence, text, number(group.sen), number(group.spe)]


def _formatted(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _text_cell(text: str) -> str:
    return f"<td{' class=said' if len(text) > 60 else ''}>{escape(text)}</td>"


def _table(head: Sequence[str], body: str) -> str:
    return f"<div class=scroll>{html_frame(head, body, style='methods')}</div>"
