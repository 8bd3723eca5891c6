"""The explanation folder: one case's maps in their own space, and their figures."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_bytes, write_json, write_text
from napari_harm3.config import to_plain
from napari_harm3.explain.case import Explanation
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.link_table import write_link_csv
from napari_harm3.explain.slide_maps import SlideMaps
from napari_harm3.explain.wsi_attention import patch_geojson, write_heat_maps
from napari_harm3.mri.volume import write_volume
from napari_harm3.report.figures import explanation_figure
from napari_harm3.report.page import as_png

ABOUT = "explanation.json"


def write_explanation(
    out: Path,
    explanation: Explanation,
    *,
    slide: SlideMaps,
    link: CaseLink | None,
    trained_on: str,
    made_up: bool,
) -> dict[str, Any]:
    """Write maps, attention, link, agreement and figure; return what ``--json`` prints.

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
    more = _write_slide_maps(out, slide) | _write_link(out, link)
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
        "explain": to_plain(explanation.config),
        "messages": {r: v.message for r, v in explanation.volumes.items() if v.message},
    }
    write_json(out / ABOUT, about)
    return about | {
        "maps": maps,
        "agreement": agreement,
        "attention": str((out / "slide_attention.geojson").resolve()),
        "figure": str((out / "figure.png").resolve()),
        **more,
    }


def _write_slide_maps(out: Path, slide: SlideMaps) -> dict[str, Any]:
    """Write every kind of map of the slides, for QuPath: GeoJSON and pyramids."""
    if not slide.maps:
        return {"slide_maps": None, "slide_heat": []}
    path = out / "slide_maps.geojson"
    write_json(path, patch_geojson(slide.places, slide.maps))
    heat = [
        str(file.resolve())
        for kind, shares in slide.maps.items()
        for file in write_heat_maps(out, slide.places, shares, kind=kind)
    ]
    return {"slide_maps": str(path.resolve()), "slide_heat": heat}


def _write_link(out: Path, link: CaseLink | None) -> dict[str, Any]:
    """Write what patches and MRI have to do with each other; the strongest as CSV."""
    if link is None:
        return {"link": None, "links": None}
    path, table = out / "link.npz", out / "links.csv"
    link.to_npz(path)
    write_link_csv(table, link)
    return {"link": str(path.resolve()), "links": str(table.resolve())}


def write_agreement(
    path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Write rows of ``agreement.csv``; what is not known is blank."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_explanation(folder: Path) -> dict[str, Any]:
    """Return what an explanation folder says, without its maps."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    agreement = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
    return about | {"agreement": agreement}
