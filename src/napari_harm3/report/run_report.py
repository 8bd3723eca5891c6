"""One page about a run or a case: a single HTML file that needs no network."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import TITLES
from napari_harm3.config import read_toml, to_toml
from napari_harm3.errors import ModelError
from napari_harm3.models.checkpoint import ABOUT, read_about
from napari_harm3.report.agreement_tables import agreement_html, summary_html
from napari_harm3.report.case_report import ABOUT as EXPLANATION
from napari_harm3.report.case_report import (
    ALSO_FIGURE,
    CHECKS_FIGURE,
    read_checks,
    read_explanation,
    verdicts,
)
from napari_harm3.report.cohort_agreement import FIGURE, TABLES, read_summary
from napari_harm3.report.figures import (
    roc_figure,
    score_figure,
    training_figure,
)
from napari_harm3.report.page import as_png, details, image, warnings, write_page
from napari_harm3.report.tables import html_table, metrics_rows, number
from napari_harm3.training.config import RunConfig
from napari_harm3.training.held_out import HeldOut, read_held_out
from napari_harm3.training.run import fold_folders, origin_of

EXPLAINED = f"{EXPLANATION}, or what it names,"


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
    with _readable(run, "metrics.json"):
        told = [
            (
                f"<p class=soft>{cases} cases of {escape(about['trained_on'])}, "
                f"{metrics['prevalence']:.1%} pCR; {folds} folds by patient, held-out "
                "predictions only. Research use only; not a medical device.</p>"
            ),
            warnings(
                made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
            ),
            _cards(metrics),
            "<h2>Metrics</h2>",
            html_table(("", "mean", "sd", "95 % CI", "pooled"), metrics_rows(metrics)),
            (
                "<p class=soft>Mean and sd over folds; interval by bootstrap within "
                "fold and class. Positive is pCR, decisions at 0.5. Always saying "
                f"“no” has ACC {metrics['majority_acc']:.3f}.</p>"
            ),
        ]
        left_out = _left_out(metrics)
    parts = [
        f"<h1>{escape(config.method)}, {escape(config.size)}</h1>",
        *told,
        "<h2>Curves</h2><div class=row>",
        image(as_png(roc_figure(pairs)), "ROC curve of each fold"),
        image(as_png(score_figure(found.label, found.score)), "Held-out scores"),
        _loss_figure(run),
        "</div>",
        _fold_table(run),
        _explained_part(explanation) if explanation is not None else "",
        details("Predictions", _prediction_table(found)),
        details("Left out", left_out),
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
        If the run has no such case, the explanation is another case's, or a file that
        is told is damaged.
    """
    found, about = read_held_out(run), origin_of(run)
    if case_id not in found.case_id:
        raise ModelError(f"{run.name} has no held-out prediction of '{case_id}'.")
    row = found.case_id.index(case_id)
    parts = [
        f"<h1>{escape(case_id)}</h1>",
        (
            f"<p class=soft>Predicted by fold {found.fold[row]}, which held it out. "
            "Research use only; not a medical device.</p>"
        ),
        warnings(
            made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
        ),
        "<div class=cards>"
        + _card("p(pCR)", f"{found.score[row]:.3f}")
        + _card("label", "pCR" if found.label[row] else "no pCR")
        + "</div>",
        _case_part(explanation, case_id) if explanation is not None else "",
    ]
    write_page(out, f"{case_id}: report", parts)


@contextmanager
def _readable(folder: Path, name: str) -> Iterator[None]:
    """Say of whatever a damaged file breaks which file it is."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise ModelError(
            f"{folder.name}/{name} is damaged: copy it again, or make it again."
        ) from error


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
    logs: dict[int, list[dict[str, str]]] = {}
    with _readable(run, "fold-*/log.csv"):
        for fold, folder in enumerate(fold_folders(run)):
            if (folder / "log.csv").exists():
                with (folder / "log.csv").open(newline="", encoding="utf-8") as stream:
                    logs[fold] = list(csv.DictReader(stream, strict=True))
        return image(as_png(training_figure(logs)), "Training loss") if logs else ""


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
        with _readable(folder, ABOUT):
            figures = [number(about.get(name)) for name in names]
            rows.append([str(about["fold"]), *figures, f"{about['threshold']:.2f}"])
    header = ("fold", "AUC", "slide only", "MRI only", "inner threshold")
    return "<h2>Folds</h2>" + html_table(header, rows)


def _explained_part(folder: Path) -> str:
    """Tell an explanation folder: of one case, or of a cohort."""
    with _readable(folder, TABLES["summary"]):
        rows = read_summary(folder)
        if rows is not None:
            picture = (folder / FIGURE).read_bytes()
            return (
                "<h2>Do the maps agree with the annotations?</h2>"
                + image(picture, "Normalised agreement of each map")
                + summary_html(rows)
            )
    return _case_part(folder)


def _case_part(folder: Path, case_id: str | None = None) -> str:
    """Tell the explanation of a case, of the one that is named if any is."""
    with _readable(folder, EXPLAINED):
        about = read_explanation(folder)
        explained = about["case_id"]
    if case_id not in (None, explained):
        raise ModelError(
            f"{folder.name} explains {explained}, not {case_id}: give the folder of "
            f"{case_id}."
        )
    with _readable(folder, EXPLAINED):
        return _maps_part(folder, about)


def _maps_part(folder: Path, about: Mapping[str, Any]) -> str:
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


def _prediction_table(found: HeldOut) -> str:
    columns = (found.case_id, found.fold, found.label, found.score)
    cells = [
        [case_id, str(fold), str(label), f"{score:.3f}"]
        for case_id, fold, label, score in zip(*columns, strict=True)
    ]
    return html_table(("case", "fold", "pCR", "p(pCR)"), cells)


def _left_out(metrics: Mapping[str, Any]) -> str:
    rows = [[name, why] for name, why in metrics.get("left_out", {}).items()]
    return html_table(("case", "why"), rows) if rows else "<p>No case.</p>"
