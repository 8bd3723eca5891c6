"""Several methods on one cohort: a table, a page and figures that people look at."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from napari_harm3.artifacts import write_bytes, write_csv, write_text
from napari_harm3.errors import TrainingError
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report import comparison_tables as tables
from napari_harm3.report.comparison_figures import figures
from napari_harm3.report.comparison_look import marked
from napari_harm3.report.comparison_records import records, subgroup_records
from napari_harm3.report.comparison_rows import Comparison
from napari_harm3.report.page import (
    as_png,
    image,
    warning_lines,
    warnings,
    write_page,
)

CAPTIONS = {
    "forest": "AUC of each method: mean over folds with its 95 % interval, and Holm's "
    "p of DeLong's test against the reference.",
    "curves": "Held-out scores of all folds together. Named are the reference and the "
    "best of the others; the rest is grey. The legend has the folds' mean.",
    "roc": "ROC curve of each method, in front of all others.",
    "pr": "Precision and recall of each method, in front of all others.",
    "decision": "Net benefit of acting from a probability on: worth it where a line "
    "lies above both “everyone” and “no one”.",
    "calibration": "What was said and what was observed, in ten bins of equal size, "
    "with Wilson's 95 % interval. On the diagonal, a probability can be taken at its "
    "word.",
    "confusion": "Decisions at each fold's own threshold, chosen on its inner part, "
    "never on the cases shown; percent of each true class.",
}
"""What stands under each figure, in the page's order."""

REPORTED = "What the reported figures are"
Table = tuple[list[str], list[list[str]]]
HOW = (
    "Mean (sd) over folds, and the 95 % interval of the mean by bootstrap within fold "
    "and class. Held-out cases only, decisions at 0.5, positive is pCR. The best "
    "figure is bold, which is no test."
)
PAPERS = (
    "“paper”: as the article prints it, of its own cohort. Its F1 stands beside our "
    "macro-F1, which its figures agree with best."
)
TESTS = (
    "Each method less the reference, on the same cases. DeLong's variances fold by "
    "fold; Holm over all methods; t of Nadeau and Bengio over folds; McNemar's exact "
    "test on the cases with pCR (SEN) and without (SPE)."
)
GROUPS = (
    "AUC over pairs held out by the same fold, bootstrap within class. Groups with "
    "fewer than 5 cases of a class are named and not measured."
)


def write_comparison(folder: Path, comparison: Comparison) -> dict[str, Path]:
    """Write the comparison as CSV, Markdown, HTML and PNG; return the files by kind.

    Raises
    ------
    TrainingError
        If there is no row.
    """
    if not comparison.rows:
        raise TrainingError("There is no method to compare: train at least one.")
    stem = folder / comparison.name
    pictures = {}
    for name, figure in figures(comparison.rows, comparison.reference).items():
        marked(figure, made_up=comparison.made_up)
        pictures[name] = as_png(figure, dpi=130, outside=True)
    files = {kind: Path(f"{stem}.{kind}") for kind in ("csv", "md", "html")}
    rows = records(comparison)
    write_csv(files["csv"], rows, list(rows[0]))
    write_text(files["md"], as_markdown(comparison))
    write_page(files["html"], comparison.title, _parts(comparison, pictures), wide=True)
    groups = subgroup_records(comparison)
    if groups:
        files["subgroups"] = Path(f"{stem}-subgroups.csv")
        write_csv(files["subgroups"], groups, list(groups[0]))
    for name, png in pictures.items():
        files[name] = Path(f"{stem}-{name}.png")
        write_bytes(files[name], png)
    return files


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown, without figures."""
    red = warning_lines(
        made_up=comparison.made_up, untrained_encoder=comparison.untrained_encoder
    )
    parts = [
        f"# {comparison.title}\n",
        f"{_about(comparison)} **{RESEARCH_ONLY}**\n",
        *(f"> **{text}**\n" for text in red),
        tables.metrics_markdown(comparison) + "\n",
        f"{HOW} {PAPERS}\n",
        *(f"* {text}" for text in (*comparison.caveats, *comparison.notes)),
        "",
    ]
    reported = (REPORTED, "", tables.caveat_rows(comparison))
    for title, how, (head, lines) in (reported, *_sections(comparison)):
        if lines:
            parts += [f"## {title}\n", tables.markdown_table(head, lines) + "\n"]
            parts += [how + "\n"] if how else []
    return "\n".join(parts)


def _parts(comparison: Comparison, pictures: Mapping[str, bytes]) -> list[str]:
    parts = [
        f"<h1>{escape(comparison.title)}</h1>",
        f"<p class=soft>{escape(_about(comparison))} {RESEARCH_ONLY}</p>",
        warnings(
            made_up=comparison.made_up, untrained_encoder=comparison.untrained_encoder
        ),
        _figure("forest", pictures),
        "<h2>Metrics</h2>",
        tables.metrics_html(comparison),
        f"<p class=soft>{HOW} {PAPERS}</p>",
        _list((*comparison.caveats, *comparison.notes)),
        *_section(REPORTED, "", tables.caveat_rows(comparison)),
        "<h2>Curves</h2>",
        *(_figure(name, pictures) for name in CAPTIONS if name != "forest"),
    ]
    for title, how, table in _sections(comparison):
        parts += _section(title, how, table)
    return parts


def _section(title: str, how: str, table: Table) -> list[str]:
    head, lines = table
    if not lines:
        return []
    text = [f"<p class=soft>{how}</p>"] if how else []
    return [f"<h2>{escape(title)}</h2>", tables.plain_html(head, lines), *text]


def _sections(comparison: Comparison) -> list[tuple[str, str, Table]]:
    reference = next(
        (row.title for row in comparison.rows if row.name == comparison.reference),
        comparison.reference,
    )
    return [
        (f"Against {reference}", TESTS, tables.against_rows(comparison)),
        ("Calibration", "", tables.calibration_rows(comparison)),
        ("Groups of patients", GROUPS, tables.subgroup_rows(comparison)),
        ("Cost", "", tables.cost_rows(comparison)),
    ]


def _about(comparison: Comparison) -> str:
    metrics = comparison.rows[0].metrics
    counts = {row.metrics["n"] for row in comparison.rows}
    cases = str(metrics["n"]) if len(counts) == 1 else f"{min(counts)}-{max(counts)}"
    return (
        f"{len(comparison.rows)} methods on {cases} cases of {comparison.cohort}, "
        f"{metrics['prevalence']:.1%} pCR; always saying “no” has ACC "
        f"{metrics['majority_acc']:.3f}."
    )


def _figure(name: str, pictures: Mapping[str, bytes]) -> str:
    if name not in pictures:
        return ""
    caption = CAPTIONS[name]
    return (
        f"<figure>{image(pictures[name], caption)}"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _list(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul class=soft>{items}</ul>" if items else ""
