"""The page of a run."""

import csv
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from napari_harm3.config import read_toml, to_toml
from napari_harm3.errors import ModelError
from napari_harm3.models.checkpoint import ABOUT, read_about
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.agreement_tables import summary_html
from napari_harm3.report.case_report import case_part
from napari_harm3.report.cohort_agreement import FIGURE, TABLES, read_summary
from napari_harm3.report.figures import roc_figure, score_figure, training_figure
from napari_harm3.report.page import (
    as_png,
    cards,
    details,
    image,
    readable,
    warnings,
    write_page,
)
from napari_harm3.report.tables import html_table, metrics_rows, number
from napari_harm3.training.config import RunConfig
from napari_harm3.training.held_out import HeldOut, read_held_out
from napari_harm3.training.run import fold_folders, origin_of


def write_run_report(run: Path, out: Path, *, explanation: Path | None = None) -> None:
    """Write the page of a run, with one explained case if its folder is given.

    Raises
    ------
    ModelError
        If the run was not trained to its end, or a file that it tells is damaged.
    """
    found, about = read_held_out(run), origin_of(run)
    config = read_toml(run / "run.toml", RunConfig)
    folds = len(found.folds) // config.repeats  # the table's win over the asked
    pairs = [(fold.label, fold.score) for fold in found.folds]
    cases = len(set(found.case_id))  # which repeats hold out more than once
    metrics = _metrics(run)
    with readable(run, "metrics.json"):
        rows = metrics_rows(metrics)
        prevalence = f"{metrics['prevalence']:.1%}"
        majority = f"{metrics['majority_acc']:.3f}"
        left_out = [
            [name, str(why)] for name, why in metrics.get("left_out", {}).items()
        ]
    parts = [
        f"<h1>{escape(config.method)}, {escape(config.size)}</h1>",
        (
            f"<p class=soft>{cases} cases of {escape(about['trained_on'])}, "
            f"{prevalence} pCR; {folds} folds by patient, held-out "
            f"predictions only. {RESEARCH_ONLY}</p>"
        ),
        warnings(
            made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
        ),
        cards((f"{name}, {interval}", mean) for name, mean, _, interval, _ in rows[:5]),
        "<h2>Metrics</h2>",
        html_table(("", "mean", "sd", "95 % CI", "pooled"), rows),
        (
            "<p class=soft>Mean and sd over folds; interval by bootstrap within "
            "fold and class. Positive is pCR, decisions at 0.5. Always saying "
            f"“no” has ACC {majority}.</p>"
        ),
        "<h2>Curves</h2><div class=row>",
        image(as_png(roc_figure(pairs)), "ROC curve of each fold"),
        image(as_png(score_figure(found.label, found.score)), "Held-out scores"),
        _loss_figure(run),
        "</div>",
        _fold_table(run),
        _explained_part(explanation) if explanation is not None else "",
        details("Predictions", _prediction_table(found)),
        details("Left out", _left_out(left_out)),
        details(
            "Configuration", f"<pre>{escape(to_toml(config.without_paths()))}</pre>"
        ),
    ]
    write_page(out, f"{config.method}: report", parts)


def _metrics(run: Path) -> dict[str, Any]:
    try:
        text = (run / "metrics.json").read_text(encoding="utf-8")
        metrics: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{run.name} has no metrics yet: train it to its end first."
        ) from error
    return metrics


def _loss_figure(run: Path) -> str:
    """Return the loss by epoch; nothing of a method that is fitted without any."""
    losses: dict[int, list[tuple[int, float]]] = {}
    with readable(run, "fold-*/log.csv"):
        for fold, folder in enumerate(fold_folders(run)):
            if (folder / "log.csv").exists():
                with (folder / "log.csv").open(newline="", encoding="utf-8") as stream:
                    losses[fold] = [
                        (int(row["epoch"]) + 1, float(row["loss"]))
                        for row in csv.DictReader(stream, strict=True)
                    ]
    return image(as_png(training_figure(losses)), "Training loss") if losses else ""


def _fold_table(run: Path) -> str:
    rows = []
    for folder in fold_folders(run):
        about = read_about(folder)
        names = ("auc", "auc_without_mri", "auc_without_wsi")
        with readable(folder, ABOUT):
            figures = [number(about.get(name)) for name in names]
            rows.append([str(about["fold"]), *figures, f"{about['threshold']:.2f}"])
    header = ("fold", "AUC", "slide only", "MRI only", "inner threshold")
    return "<h2>Folds</h2>" + html_table(header, rows)


def _explained_part(folder: Path) -> str:
    """Tell an explanation folder: of one case, or of a cohort."""
    with readable(folder, TABLES["summary"]):
        rows = read_summary(folder)
    if rows is None:
        return case_part(folder)
    picture = (folder / FIGURE).read_bytes()
    return (
        "<h2>Do the maps agree with the annotations?</h2>"
        + image(picture, "Normalised agreement of each map")
        + summary_html(rows)
    )


def _prediction_table(found: HeldOut) -> str:
    columns = (found.case_id, found.fold, found.label, found.score)
    cells = [
        [case_id, str(fold), str(label), f"{score:.3f}"]
        for case_id, fold, label, score in zip(*columns, strict=True)
    ]
    return html_table(("case", "fold", "pCR", "p(pCR)"), cells)


def _left_out(rows: Sequence[Sequence[str]]) -> str:
    return html_table(("case", "why"), rows) if rows else "<p>No case.</p>"
