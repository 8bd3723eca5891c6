"""One page about a run or a case: a single HTML file that needs no network."""

import csv
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.cohort.case import TITLES
from napari_harm3.config import read_toml, to_toml
from napari_harm3.errors import ModelError
from napari_harm3.models.checkpoint import read_about
from napari_harm3.report.agreement_tables import agreement_html, summary_html
from napari_harm3.report.case_report import (
    ALSO_FIGURE,
    CHECKS_FIGURE,
    read_checks,
    read_explanation,
    verdicts,
)
from napari_harm3.report.cohort_agreement import FIGURE, read_summary
from napari_harm3.report.figures import (
    roc_figure,
    score_figure,
    training_figure,
)
from napari_harm3.report.page import as_png, details, image, warnings, write_page
from napari_harm3.report.tables import html_table, metrics_rows, number
from napari_harm3.training.config import RunConfig
from napari_harm3.training.run import fold_folders


def write_run_report(run: Path, out: Path, *, explanation: Path | None = None) -> None:
    """Write the page of a run, with one explained case if its folder is given.

    Raises
    ------
    ModelError
        If the run was not trained to its end.
    """
    metrics, rows = _metrics(run), _predictions(run)
    about = read_about(fold_folders(run)[0])
    config = read_toml(run / "run.toml", RunConfig)
    label = np.array([int(row["pcr"]) for row in rows])
    score = np.array([float(row["probability"]) for row in rows])
    fold = np.array([int(row["fold"]) for row in rows])
    pairs = [(label[fold == k], score[fold == k]) for k in np.unique(fold)]
    folds = len(pairs) // config.repeats  # the table's win over the asked
    parts = [
        f"<h1>{escape(config.method)}, {escape(config.size)}</h1>",
        (
            f"<p class=soft>{metrics['n']} cases of {escape(about['trained_on'])}, "
            f"{metrics['prevalence']:.1%} pCR; {folds} folds by patient, "
            "held-out predictions only. Research use only; not a medical device.</p>"
        ),
        warnings(
            made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
        ),
        _cards(metrics),
        "<h2>Metrics</h2>",
        html_table(("", "mean", "sd", "95 % CI", "pooled"), metrics_rows(metrics)),
        (
            "<p class=soft>Mean and sd over folds; interval by bootstrap within fold "
            "and class. Positive is pCR, decisions at 0.5. Always saying "
            f"“no” has ACC {metrics['majority_acc']:.3f}.</p>"
        ),
        "<h2>Curves</h2><div class=row>",
        image(as_png(roc_figure(pairs)), "ROC curve of each fold"),
        image(as_png(score_figure(label, score)), "Held-out scores"),
        image(as_png(training_figure(_logs(run))), "Training loss"),
        "</div>",
        _fold_table(run),
        _explained_part(explanation) if explanation is not None else "",
        details("Predictions", _prediction_table(rows)),
        details("Left out", _left_out(metrics)),
        details(
            "Configuration", f"<pre>{escape(to_toml(config.without_paths()))}</pre>"
        ),
    ]
    write_page(out, f"{config.method}: report", parts)


def write_case_report(
    run: Path, out: Path, case_id: str, *, explanation: Path | None = None
) -> None:
    """Write the page of one case of a run.

    Raises
    ------
    ModelError
        If the run has no such case.
    """
    row = next((r for r in _predictions(run) if r["case_id"] == case_id), None)
    if row is None:
        raise ModelError(f"{run.name} has no held-out prediction of '{case_id}'.")
    about = read_about(fold_folders(run)[0])
    label = {"0": "no pCR", "1": "pCR"}.get(row["pcr"], "not known")
    parts = [
        f"<h1>{escape(case_id)}</h1>",
        (
            f"<p class=soft>Predicted by fold {escape(row['fold'])}, which held it "
            "out. Research use only; not a medical device.</p>"
        ),
        warnings(
            made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
        ),
        "<div class=cards>"
        + _card("p(pCR)", f"{float(row['probability']):.3f}")
        + _card("label", label)
        + "</div>",
        _case_part(explanation) if explanation is not None else "",
    ]
    write_page(out, f"{case_id}: report", parts)


def _metrics(run: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{run.name} has no metrics yet: train it to its end first."
        ) from error
    return metrics


def _predictions(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["pcr"] != ""]


def _logs(run: Path) -> dict[int, list[dict[str, str]]]:
    logs = {}
    for fold, folder in enumerate(fold_folders(run)):
        with (folder / "log.csv").open(newline="", encoding="utf-8") as stream:
            logs[fold] = list(csv.DictReader(stream))
    return logs


def _cards(metrics: Mapping[str, Any]) -> str:
    rows = metrics_rows(metrics)[:5]
    return (
        "<div class=cards>"
        + "".join(
            _card(f"{name}, {interval}", mean) for name, mean, _, interval, _ in rows
        )
        + "</div>"
    )


def _card(name: str, value: str) -> str:
    return f"<div class=card><b>{escape(value)}</b>{escape(name)}</div>"


def _fold_table(run: Path) -> str:
    rows = []
    for folder in fold_folders(run):
        about = read_about(folder)
        names = ("auc", "auc_without_mri", "auc_without_wsi")
        figures = [number(about[k]) for k in names]
        rows.append([str(about["fold"]), *figures, f"{about['threshold']:.2f}"])
    header = ("fold", "AUC", "slide only", "MRI only", "inner threshold")
    return "<h2>Folds</h2>" + html_table(header, rows)


def _explained_part(folder: Path) -> str:
    """Tell an explanation folder: of one case, or of a cohort."""
    rows = read_summary(folder)
    if rows is None:
        return _case_part(folder)
    return (
        "<h2>Do the maps agree with the annotations?</h2>"
        + image((folder / FIGURE).read_bytes(), "Normalised agreement of each map")
        + summary_html(rows)
    )


def _case_part(folder: Path) -> str:
    about = read_explanation(folder)
    cell = " x ".join(f"{mm:.0f}" for mm in about["cell_mm"])
    parts = [
        f"<h2>Where the model looks: {escape(about['case_id'])}</h2>",
        (
            f"<p>p(pCR) {about['probability']:.3f} ({escape(about['seen'])}). "
            f"A cell of the map is {cell} mm (z, y, x).</p>"
        ),
        image((folder / "figure.png").read_bytes(), "Heat maps above annotations"),
    ]
    checks = verdicts(read_checks(folder))
    if checks:
        parts.append("<h2>Can the map be trusted?</h2>")
        parts += [f"<p>{escape(one['verdict'])}</p>" for one in checks.values()]
        picture = (folder / CHECKS_FIGURE).read_bytes()
        parts.append(image(picture, "Randomisation, deletion and insertion"))
    if (folder / ALSO_FIGURE).exists():
        parts.append("<h2>Maps beside it</h2>")
        parts.append(image((folder / ALSO_FIGURE).read_bytes(), "Other maps"))
    parts.append("<h2>Agreement with the annotations</h2>")
    parts.append(agreement_html(about["agreement"], TITLES))
    for kind, agreement in about.get("also_agreement", {}).items():
        parts.append(details(f"Agreement of {kind}", agreement_html(agreement, TITLES)))
    return "".join(parts)


def _prediction_table(rows: list[dict[str, str]]) -> str:
    cells = [
        [row["case_id"], row["fold"], row["pcr"], f"{float(row['probability']):.3f}"]
        for row in rows
    ]
    return html_table(("case", "fold", "pCR", "p(pCR)"), cells)


def _left_out(metrics: Mapping[str, Any]) -> str:
    rows = [[name, why] for name, why in metrics.get("left_out", {}).items()]
    return html_table(("case", "why"), rows) if rows else "<p>No case.</p>"
