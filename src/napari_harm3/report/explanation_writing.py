"""The explanation folder, written: a case's maps in their own space, and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.artifacts import write_bytes, write_csv, write_json
from napari_harm3.config import to_plain
from napari_harm3.explain.case import ExplainedVolume, Explanation
from napari_harm3.explain.cells import VolumeMaps
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.link_table import ORIGIN, write_link_csv
from napari_harm3.explain.slide_export import patch_geojson, write_heat_maps
from napari_harm3.explain.slide_maps import TOP, SlideMaps, top_patches
from napari_harm3.mri.volume import write_volume
from napari_harm3.report.check_figure import check_figure
from napari_harm3.report.explanation_folder import (
    ABOUT,
    AGREEMENT,
    ALSO_AGREEMENT,
    ALSO_FIGURE,
    ATTENTION,
    CHECKS,
    CHECKS_FIGURE,
    FIGURE,
    LINK,
    LINKS,
    SLIDE_MAPS,
    TOP_PATCHES,
    read_result,
    sizes_of,
    verdicts,
    withdraw,
)
from napari_harm3.report.map_figures import explanation_figure, other_maps_figure
from napari_harm3.report.page import as_png

Files = dict[str, Any]
"""Names within the folder, as the result has them: one, by role, or a list."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that an explanation folder tells."""

    explanation: Explanation
    agreement: Mapping[str, Any]
    """Of the model's own maps, by role."""

    others: Mapping[str, VolumeMaps] = field(default_factory=dict)
    """Maps beside the model's own, by kind."""

    others_agreement: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Any] | None = None
    """As ``checks.json`` has it, which is written when a trial is done."""

    about: Mapping[str, Any]
    """``model``, ``trained_on``, ``made_up``, ``missing``, ``threshold``, ``request``,
    which is all that was asked, and ``key``."""


def write_explanation(out: Path, findings: Findings) -> dict[str, Any]:
    """Write maps, link, agreement and figures; return what ``--json`` prints.

    ``explanation.json``, written last, says that the folder is whole.
    """
    withdraw(out)
    explanation = findings.explanation
    maps = {}
    for role, explained in explanation.volumes.items():
        maps[role] = f"{role}_cam.nii.gz"
        write_volume(out / maps[role], explained.heat, explained.volume.affine)
    write_json(out / AGREEMENT, findings.agreement)
    write_bytes(out / FIGURE, as_png(explanation_figure(explanation)))
    files: Files = {
        "maps": maps,
        "figure": FIGURE,
        "agreement_file": AGREEMENT,
        **_write_slide_maps(out, explanation.slide, findings.about["trained_on"]),
        **_write_link(out, explanation.link, findings.about["trained_on"]),
        **_write_others(out, findings),
        **_write_checks(out, findings),
    }
    about = {
        "case_id": explanation.case_id,
        "probability": explanation.probability,
        "seen": explanation.seen,
        "folds": list(explanation.folds),
        **findings.about,
        "message": "",
        "cell_mm": list(explanation.cell_mm),
        "cells_assumed": explanation.cells_assumed,
        "grids": {r: _grid(v) for r, v in explanation.volumes.items()},
        "explain": to_plain(explanation.config),
        "messages": {r: v.message for r, v in explanation.volumes.items() if v.message},
        "verdicts": verdicts(findings.checks or {}),
        "files": files,
        "sizes": sizes_of(out, files),
    }
    write_json(out / ABOUT, about)
    result = read_result(out)
    assert result is not None
    return result


def _grid(explained: ExplainedVolume) -> dict[str, Any]:
    """Return where a map's cells lie, and where the field of view ends.

    ``affine`` leads from cells z, y, x to RAS mm of the volume's own file, which a
    registration may have laid elsewhere; ``view`` is in cells.
    """
    cells = explained.cells
    to_own = explained.volume.affine @ np.linalg.inv(explained.place.affine)
    return {
        "cells": list(cells.shape),
        "affine": (to_own @ cells.affine).tolist(),
        "view": cells.view.tolist(),
    }


def _write_slide_maps(out: Path, slide: SlideMaps, trained_on: str) -> Files:
    """Write every kind of map of the slides, for QuPath: GeoJSON and pyramids."""
    attention = {k: shares for k, shares in slide.maps.items() if k == "attention"}
    write_json(out / ATTENTION, patch_geojson(slide.places, attention))
    if not slide.maps:
        return {
            "attention": ATTENTION,
            "slide_maps": None,
            "slide_heat": [],
            "top_patches": None,
        }
    write_json(out / SLIDE_MAPS, patch_geojson(slide.places, slide.maps))
    best = [
        row | {ORIGIN: trained_on}
        for kind, shares in slide.maps.items()
        for row in top_patches(shares, slide.places, kind=kind)
    ]
    write_csv(out / TOP_PATCHES, best, (*TOP, ORIGIN))
    heat = [
        file.name
        for kind, shares in slide.maps.items()
        for file in write_heat_maps(out, slide.places, shares, kind=kind)
    ]
    return {
        "attention": ATTENTION,
        "slide_maps": SLIDE_MAPS,
        "slide_heat": heat,
        "top_patches": TOP_PATCHES,
    }


def _write_link(out: Path, link: CaseLink | None, trained_on: str) -> Files:
    """Write what patches and MRI have to do with each other; the strongest as CSV."""
    if link is None:
        return {"link": None, "links": None}
    link.to_npz(out / LINK)
    write_link_csv(out / LINKS, link, trained_on=trained_on)
    return {"link": LINK, "links": LINKS}


def _write_others(out: Path, findings: Findings) -> Files:
    """Write the maps that were asked for beside the model's."""
    also: dict[str, dict[str, str]] = {}
    for kind, maps in findings.others.items():
        for role, one in maps.items():
            name = f"{role}_{kind}.nii.gz"
            affine = findings.explanation.volumes[role].volume.affine
            write_volume(out / name, one.heat, affine)
            also.setdefault(kind, {})[role] = name
    if not also:
        return {"also": {}, "also_figure": None, "also_agreement_file": None}
    write_json(out / ALSO_AGREEMENT, findings.others_agreement)
    figure = other_maps_figure(findings.explanation, findings.others)
    write_bytes(out / ALSO_FIGURE, as_png(figure))
    return {
        "also": also,
        "also_figure": ALSO_FIGURE,
        "also_agreement_file": ALSO_AGREEMENT,
    }


def _write_checks(out: Path, findings: Findings) -> Files:
    if findings.checks is None:
        return {"checks": None, "checks_figure": None}
    figure = check_figure(findings.explanation, findings.checks)
    write_bytes(out / CHECKS_FIGURE, as_png(figure))
    return {"checks": CHECKS, "checks_figure": CHECKS_FIGURE}
