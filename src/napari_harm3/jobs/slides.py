"""What a user can ask about slides: where the tissue is, and its features."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_bytes, write_json, write_text
from napari_harm3.errors import Harm3Error
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig

DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff")


def stem_of(slide: Path) -> str:
    """Return a slide's name without its suffix; ``.ome.tif`` is one suffix."""
    for suffix in DOUBLE_SUFFIXES:
        if slide.name.lower().endswith(suffix):
            return slide.name[: -len(suffix)]
    return slide.stem


def find_tissue(
    slides: Sequence[Path],
    *,
    out: Path,
    tissue: TissueConfig,
    patches: PatchConfig,
    source_mpp: float | None = None,
) -> Job:
    """Outline the tissue of slides and lay the patch grid.

    Writes ``<stem>.tissue.geojson`` (level-0 pixels), ``<stem>.mask.png`` and
    ``<stem>.harm3.h5`` with coordinates only, and ``summary.json`` at the end.
    """
    rows: list[dict[str, Any]] = []
    for number, (slide, problem) in enumerate(_by_stem(slides), start=1):
        started = time.monotonic()
        row = _tissue_row(slide)
        try:
            if problem:
                row["message"] = problem
            else:
                row |= _outline(slide, out, tissue, patches, source_mpp)
        except (Harm3Error, OSError) as error:  # one bad slide never stops the rest
            row["message"] = str(error)
        row["seconds"] = round(time.monotonic() - started, 3)
        rows.append(row)
        yield Progress(stage="tissue", step=number, of=len(slides), text=slide.name)
    yield _summary("tissue", rows, out)


def _tissue_row(slide: Path) -> dict[str, Any]:
    return {
        "slide": str(slide.resolve()),
        "status": "failed",
        "message": "",
        "mpp": None,
        "mpp_source": None,
        "tissue_fraction": None,
        "patches": None,
        "seconds": None,
    }


def _outline(
    path: Path,
    out: Path,
    tissue: TissueConfig,
    patches: PatchConfig,
    source_mpp: float | None,
) -> dict[str, Any]:
    import json

    from napari_harm3.wsi.features import write_coords
    from napari_harm3.wsi.patches import lay_patches
    from napari_harm3.wsi.slide import open_slide
    from napari_harm3.wsi.tissue import find_tissue as find
    from napari_harm3.wsi.tissue import mask_png

    with open_slide(path, source_mpp=source_mpp) as slide:
        found = find(slide, tissue)
        grid = lay_patches(slide, found, patches)
        stem = stem_of(path)
        write_text(out / f"{stem}.tissue.geojson", json.dumps(found.polygons))
        write_bytes(out / f"{stem}.mask.png", mask_png(found))
        write_coords(slide, out / f"{stem}.harm3.h5", found, grid, tissue, patches)
        return {
            "status": "done" if len(grid.coords) else "empty",
            "message": "" if len(grid.coords) else "No tissue was found.",
            "mpp": list(slide.mpp) if slide.mpp else None,
            "mpp_source": slide.mpp_source,
            "tissue_fraction": round(float(found.fraction), 6),
            "patches": len(grid.coords),
        }


def preview_tissue(
    slide: Path,
    *,
    tissue: TissueConfig,
    patches: PatchConfig,
    source_mpp: float | None = None,
) -> Job:
    """Find tissue and patches of one slide, writing nothing; arrays in the result."""
    from napari_harm3.wsi.patches import lay_patches
    from napari_harm3.wsi.slide import open_slide
    from napari_harm3.wsi.tissue import find_tissue as find

    with open_slide(slide, source_mpp=source_mpp) as opened:
        yield Progress(stage="tissue", step=0, of=1, text=slide.name)
        found = find(opened, tissue)
        grid = lay_patches(opened, found, patches)
        result = {
            "polygons": found.polygons,
            "fraction": found.fraction,
            "coords": grid.coords,
            "tissue": grid.tissue,
            "level0_px": list(grid.level0_px),
            "mpp": list(opened.require_mpp()),
            "mpp_source": opened.mpp_source,
        }
    yield finished("tissue", result)


def extract_features(
    slides: Sequence[Path],
    *,
    out: Path,
    tissue: TissueConfig,
    patches: PatchConfig,
    encoder: EncoderConfig,
    source_mpp: float | None = None,
    device: str = "auto",
) -> Job:
    """Turn slides into bags of patch features, ``<stem>.harm3.h5``, resumably."""
    from napari_harm3.wsi.encoder import load_encoder
    from napari_harm3.wsi.features import extract
    from napari_harm3.wsi.slide import open_slide

    loaded = load_encoder(encoder, resolve_device(device))
    if loaded.untrained:
        yield Progress(stage="features", warning=untrained(encoder))
    rows: list[dict[str, Any]] = []
    for number, (path, problem) in enumerate(_by_stem(slides), start=1):
        row = _features_row(path)
        bag = out / f"{stem_of(path)}.harm3.h5"
        try:
            if problem:
                row["message"] = problem
            else:
                with open_slide(path, source_mpp=source_mpp) as slide:
                    for step, of in extract(slide, bag, tissue, patches, loaded):
                        yield Progress(
                            stage=f"slide {number} of {len(slides)}",
                            step=step,
                            of=of,
                            text=path.name,
                        )
                row |= _bag_row(bag)
        except (Harm3Error, OSError) as error:  # one bad slide never stops the rest
            row["message"] = str(error)
        rows.append(row)
    yield _summary("features", rows, out)


def untrained(encoder: EncoderConfig) -> str:
    """Return the sentence that says that an encoder has learned nothing."""
    return (
        f"The slide encoder {encoder.name} is untrained: its weights are drawn from "
        "seed 0. Give --weights for features that mean something."
    )


def _features_row(slide: Path) -> dict[str, Any]:
    return {
        "slide": str(slide.resolve()),
        "status": "failed",
        "message": "",
        "patches": None,
        "damaged": None,
        "dim": None,
    }


def _bag_row(path: Path) -> dict[str, Any]:
    from napari_harm3.wsi.features import read_bag

    bag = read_bag(path)
    damaged = int((bag.status == 1).sum())
    status, message = "done", ""
    if not len(bag.status):
        status, message = "empty", "No tissue was found."
    elif damaged:
        status = "damaged"
        message = f"{damaged} of {len(bag.status)} patches could not be read."
    return {
        "status": status,
        "message": message,
        "patches": len(bag.status),
        "damaged": damaged,
        "dim": int(bag.features.shape[1]),
    }


def _by_stem(slides: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each slide, with a problem if its outputs would overwrite another's."""
    taken: dict[str, Path] = {}
    for slide in slides:
        first = taken.setdefault(stem_of(slide), slide)
        clash = f"{first.name} has the same name without its suffix: rename one."
        yield slide, "" if first is slide else clash


def _summary(stage: str, rows: list[dict[str, Any]], out: Path) -> Progress:
    result = {"slides": rows}
    write_json(out / "summary.json", result)
    return finished(stage, result)
