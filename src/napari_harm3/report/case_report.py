"""The explanation folder: one case's maps in their own space, and their figures."""

import json
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_bytes, write_json
from napari_harm3.explain.case import Explanation
from napari_harm3.mri.volume import write_volume
from napari_harm3.report.figures import as_png, explanation_figure

ABOUT = "explanation.json"


def write_explanation(
    out: Path, explanation: Explanation, *, trained_on: str, made_up: bool
) -> dict[str, Any]:
    """Write maps, attention, agreement and figure; return what ``--json`` prints.

    ``explanation.json``, written last, says that the folder is whole.
    """
    (out / ABOUT).unlink(missing_ok=True)
    maps = {}
    for role, explained in explanation.volumes.items():
        path = out / f"{role}_cam.nii.gz"
        write_volume(path, explained.heat, explained.volume.affine)
        maps[role] = str(path.resolve())
    agreement = {role: v.agreement for role, v in explanation.volumes.items()}
    write_json(out / "slide_attention.geojson", explanation.attention)
    write_json(out / "agreement.json", agreement)
    write_bytes(out / "figure.png", as_png(explanation_figure(explanation)))
    about = {
        "case_id": explanation.case_id,
        "probability": explanation.probability,
        "seen": explanation.seen,
        "folds": list(explanation.folds),
        "trained_on": trained_on,
        "made_up": made_up,
        "missing": [],
        "message": "",
        "cell_mm": list(explanation.cell_mm),
        "messages": {r: v.message for r, v in explanation.volumes.items() if v.message},
    }
    write_json(out / ABOUT, about)
    return about | {
        "maps": maps,
        "agreement": agreement,
        "attention": str((out / "slide_attention.geojson").resolve()),
        "figure": str((out / "figure.png").resolve()),
    }


def read_explanation(folder: Path) -> dict[str, Any]:
    """Return what an explanation folder says, without its maps."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    agreement = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
    return about | {"agreement": agreement}
