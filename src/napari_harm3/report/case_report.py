"""The page of one case of a run, and what any page says of an explanation."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import TITLES
from napari_harm3.errors import ModelError
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.agreement_tables import agreement_html
from napari_harm3.report.explanation_folder import (
    ABOUT,
    ALSO_FIGURE,
    CHECKS_FIGURE,
    FIGURE,
    read_explanation,
)
from napari_harm3.report.page import (
    cards,
    details,
    image,
    readable,
    warnings,
    write_page,
)
from napari_harm3.report.tables import number
from napari_harm3.training.held_out import read_held_out
from napari_harm3.training.run import origin_of

EXPLAINED = f"{ABOUT}, or what it names,"


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
            f"{RESEARCH_ONLY}</p>"
        ),
        warnings(
            made_up=about["made_up"], untrained_encoder=about["untrained_encoder"]
        ),
        cards(
            [
                ("p(pCR)", number(found.score[row])),
                ("label", "pCR" if found.label[row] else "no pCR"),
            ]
        ),
        case_part(explanation, case_id) if explanation is not None else "",
    ]
    write_page(out, f"{case_id}: report", parts)


def case_part(folder: Path, case_id: str | None = None) -> str:
    """Return what an explanation tells of a case, of the one that is named if any is.

    Raises
    ------
    ModelError
        If it is of another case, or a file of it is damaged.
    """
    with readable(folder, EXPLAINED):
        about = read_explanation(folder)
        explained = about["case_id"]
    if case_id not in (None, explained):
        raise ModelError(
            f"{folder.name} explains {explained}, not {case_id}: give the folder of "
            f"{case_id}."
        )
    with readable(folder, EXPLAINED):
        return _maps_part(folder, about)


def _maps_part(folder: Path, about: Mapping[str, Any]) -> str:
    cell = " x ".join(f"{mm:.0f}" for mm in about["cell_mm"])
    parts = [
        f"<h2>Where the model looks: {escape(about['case_id'])}</h2>",
        (
            f"<p>p(pCR) {about['probability']:.3f} ({escape(about['seen'])}). "
            f"A cell of the map is {cell} mm (z, y, x).</p>"
        ),
        image((folder / FIGURE).read_bytes(), "Heat maps above annotations"),
    ]
    # As the explanation tells them: trials that are kept may be of a later one.
    checks = about.get("verdicts", {})
    if checks:
        parts.append("<h2>Can the map be trusted?</h2>")
        parts += [f"<p>{escape(one['verdict'])}</p>" for one in checks.values()]
        parts.append(_picture(folder / CHECKS_FIGURE, "Trials of the map"))
    if about.get("files", {}).get("also"):
        parts.append("<h2>Maps beside it</h2>")
        parts.append(_picture(folder / ALSO_FIGURE, "Other maps"))
    parts.append("<h2>Agreement with the annotations</h2>")
    parts.append(agreement_html(about["agreement"], TITLES))
    for kind, agreement in about.get("also_agreement", {}).items():
        parts.append(details(f"Agreement of {kind}", agreement_html(agreement, TITLES)))
    return "".join(parts)


def _picture(path: Path, words: str) -> str:
    """Return a picture, or nothing where it is missing."""
    return image(path.read_bytes(), words) if path.exists() else ""
