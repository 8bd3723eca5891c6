"""The explanation folder: one case's maps in their own space, and their figures."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_bytes, write_csv, write_json
from napari_harm3.config import to_plain
from napari_harm3.explain.case import Explanation
from napari_harm3.explain.cells import CellGrid
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.link_table import ORIGIN, write_link_csv
from napari_harm3.explain.other_maps import OtherMaps
from napari_harm3.explain.slide_maps import TOP, SlideMaps, top_patches
from napari_harm3.explain.wsi_attention import patch_geojson, write_heat_maps
from napari_harm3.mri.volume import write_volume
from napari_harm3.report.check_figure import check_figure
from napari_harm3.report.map_figures import explanation_figure, other_maps_figure
from napari_harm3.report.page import as_png

ABOUT = "explanation.json"
ATTENTION, SLIDE_MAPS = "slide_attention.geojson", "slide_maps.geojson"
TOP_PATCHES = "top_patches.csv"
CHECKS, CHECKS_FIGURE = "checks.json", "checks.png"
ALSO_AGREEMENT, ALSO_FIGURE = "also_agreement.json", "also.png"

TRIALS = ("randomisation", "faithfulness")

Files = dict[str, Any]
"""Names within the folder, as the result has them: one, by role, or a list."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that an explanation folder tells."""

    explanation: Explanation
    agreement: Mapping[str, Any]
    """Of the model's own maps, by role."""

    others: Mapping[str, OtherMaps] = field(default_factory=dict)
    """Maps beside the model's own, by kind."""

    others_agreement: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Any] | None = None
    """As ``checks.json`` has it, which is written when a trial is done."""

    about: Mapping[str, Any]
    """``trained_on``, ``made_up``, ``missing``, ``threshold`` and ``key``."""


def write_explanation(out: Path, findings: Findings) -> dict[str, Any]:
    """Write maps, link, agreement and figures; return what ``--json`` prints.

    ``explanation.json``, written last, says that the folder is whole.
    """
    earlier = _earlier(out)
    (out / ABOUT).unlink(missing_ok=True)
    explanation = findings.explanation
    maps = {}
    for role, explained in explanation.volumes.items():
        maps[role] = f"{role}_cam.nii.gz"
        write_volume(out / maps[role], explained.heat, explained.volume.affine)
    write_json(out / "agreement.json", findings.agreement)
    write_bytes(out / "figure.png", as_png(explanation_figure(explanation)))
    files: Files = {
        "maps": maps,
        "figure": "figure.png",
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
        "grids": {r: _grid(v.cells) for r, v in explanation.volumes.items()},
        "explain": to_plain(explanation.config),
        "messages": {r: v.message for r, v in explanation.volumes.items() if v.message},
        "verdicts": verdicts(findings.checks or {}),
        "files": files,
    }
    for name in earlier - {*_names(files)}:
        (out / name).unlink(missing_ok=True)
    write_json(out / ABOUT, about)
    result = read_result(out)
    assert result is not None
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what ``--json`` prints of a whole explanation folder, else None."""
    try:
        about = read_explanation(folder)
    except (OSError, ValueError):
        return None
    files = about.pop("files", None)
    if files is None:  # of an earlier version
        return None
    if not all((folder / name).exists() for name in _names(files)):
        return None
    return about | {name: _located(folder, entry) for name, entry in files.items()}


def read_explanation(folder: Path) -> dict[str, Any]:
    """Return what an explanation folder says, without its maps."""
    about: dict[str, Any] = _json(folder / ABOUT)
    files = about.get("files", {}) if isinstance(about, dict) else None
    if not isinstance(files, dict):
        raise ValueError(f"{ABOUT} holds no explanation.")  # noqa: TRY004 - a damaged file
    about["agreement"] = _json(folder / "agreement.json")
    if files.get("also"):
        about["also_agreement"] = _json(folder / ALSO_AGREEMENT)
    return about


def read_checks(folder: Path) -> dict[str, Any]:
    """Return the trials of an explanation folder; empty if there are none."""
    path = folder / CHECKS
    checks: dict[str, Any] = _json(path) if path.exists() else {}
    return checks


def verdicts(checks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return of each trial whether the map passed, None if there was none to try."""
    found = {}
    for name in TRIALS:
        if name in checks:
            trial = checks[name]
            words = trial.get("verdict") or trial["not_applicable"]
            found[name] = {"passed": trial.get("passed"), "verdict": words}
    return found


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _located(folder: Path, entry: Any) -> Any:
    """Return names within a folder as absolute paths."""
    if isinstance(entry, dict):
        return {key: _located(folder, one) for key, one in entry.items()}
    if isinstance(entry, list):
        return [_located(folder, one) for one in entry]
    return None if entry is None else str((folder / entry).resolve())


def _earlier(out: Path) -> set[str]:
    """Return the files that an earlier explanation left in a folder."""
    try:
        return {Path(name).name for name in _names(read_explanation(out)["files"])}
    except (OSError, ValueError, KeyError):
        return set()


def _names(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, (dict, list)):
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from _names(one)


def _grid(cells: CellGrid) -> dict[str, Any]:
    """Return where a map's cells lie, and where the field of view ends.

    ``affine`` leads from cells z, y, x to RAS mm; ``view`` is in cells.
    """
    return {
        "cells": list(cells.shape),
        "affine": cells.affine.tolist(),
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
    link.to_npz(out / "link.npz")
    write_link_csv(out / "links.csv", link, trained_on=trained_on)
    return {"link": "link.npz", "links": "links.csv"}


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
        return {"also": {}, "also_figure": None}
    write_json(out / ALSO_AGREEMENT, findings.others_agreement)
    figure = other_maps_figure(findings.explanation, findings.others)
    write_bytes(out / ALSO_FIGURE, as_png(figure))
    return {"also": also, "also_figure": ALSO_FIGURE}


def _write_checks(out: Path, findings: Findings) -> Files:
    if findings.checks is None:
        return {"checks": None, "checks_figure": None}
    explanation = findings.explanation
    figure = check_figure(explanation.case_id, findings.checks, explanation.config)
    write_bytes(out / CHECKS_FIGURE, as_png(figure))
    return {"checks": CHECKS, "checks_figure": CHECKS_FIGURE}
