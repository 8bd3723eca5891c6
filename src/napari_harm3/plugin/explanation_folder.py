"""A finished explanation folder, as the window shows it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.errors import Harm3Error

EVIDENCE = "cam"
"""Ends the names of the files of the model's own maps."""

OTHERS = "also_agreement.json"


def read_explanation(folder: Path, case: Case | None) -> dict[str, Any]:
    """Return what a folder says of a case, and where its maps lie.

    Raises
    ------
    Harm3Error
        If it is no finished explanation, or one of another case.
    """
    others = folder / OTHERS
    try:
        about = _read(folder / "explanation.json")
        agreement = _read(folder / "agreement.json")
        explained = about["case_id"]
        about |= {"also_agreement": _read(others)} if others.exists() else {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Harm3Error(
            f"{folder.name} is no finished explanation: compute it again."
        ) from error
    if case is None or explained != case.case_id:
        raise Harm3Error(f"{folder.name} explains {explained}: open that case first.")
    also, link = dict(_maps_in(folder)), folder / "link.npz"
    return about | {
        "agreement": agreement,
        "maps": also.pop(EVIDENCE),
        "also": also,
        "attention": str(folder / "slide_attention.geojson"),
        "link": str(link) if link.exists() else None,
        "folder": folder,
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _maps_in(folder: Path) -> Mapping[str, dict[str, str]]:
    """Return the maps of a folder by kind and role."""
    found: dict[str, dict[str, str]] = {EVIDENCE: {}}
    for role in ROLES:
        for path in sorted(folder.glob(f"{role}_*.nii.gz")):
            kind = path.name.removeprefix(f"{role}_").removesuffix(".nii.gz")
            found.setdefault(kind, {})[role] = str(path)
    return found
