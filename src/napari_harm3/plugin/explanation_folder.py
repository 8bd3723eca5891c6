"""A finished explanation folder, as the window shows it."""

from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import Case
from napari_harm3.errors import Harm3Error
from napari_harm3.report.explanation_folder import read_result

EVIDENCE = "cam"
"""Kind of the model's own maps, among those beside them."""


def read_explanation(folder: Path, case: Case | None) -> dict[str, Any]:
    """Return what a folder says of a case, and where its maps lie.

    Raises
    ------
    Harm3Error
        If it is no finished explanation, or one of another case.
    """
    explanation = read_result(folder)
    if explanation is None:
        raise Harm3Error(f"{folder.name} is no finished explanation: compute it again.")
    explained = explanation["case_id"]
    if case is None or explained != case.case_id:
        raise Harm3Error(f"{folder.name} explains {explained}: open that case first.")
    return explanation | {"folder": folder}
