"""A case's files as arrays, made once: the work folder (DESIGN, section 9)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.artifacts import atomic_path, sha256_of, write_json
from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.config import recipe_hash, to_plain
from napari_harm3.data.config import InputConfig
from napari_harm3.errors import FeatureError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.preprocess import PreparedMri, prepare_volumes
from napari_harm3.mri.volume import read_volume
from napari_harm3.wsi.bags import FEATURE_SUFFIXES, read_attributes
from napari_harm3.wsi.encoder import Encoder
from napari_harm3.wsi.extraction import extract
from napari_harm3.wsi.layout import describe, is_made, lay_out
from napari_harm3.wsi.slide import open_slide


@dataclass(frozen=True, kw_only=True)
class PreparedCase:
    """Where a case's arrays lie, and what they were made of."""

    case: Case
    mri: Path | None
    bags: tuple[Path, ...]
    sources: Mapping[str, str]
    """Content of each source by column: SHA-256 of volumes, fingerprint of slides."""


def prepare_mri(case: Case, config: MriConfig, work: Path) -> Path | None:
    """Put a case's volumes on their common grid, unless that is done already.

    Returns
    -------
    :
        ``mri/<case_id>/<recipe>.npy``, or None for a case without volumes.

    Raises
    ------
    VolumeError
        If a volume cannot be trusted, or they do not belong together.
    """
    if not case.volumes:
        return None
    path = _mri_path(case, config, work)
    if _fresh_mri(case, path):
        return path
    volumes = {role: read_volume(file) for role, file in case.volumes.items()}
    prepared = prepare_volumes(volumes, config)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, prepared.array)
    about = {
        "recipe": to_plain(config),
        "sources": dict(prepared.sources),
        "stamps": {role: _stamp(file) for role, file in case.volumes.items()},
        "affine": prepared.affine.tolist(),
        "available": prepared.available.tolist(),
        "aligned": prepared.aligned,
    }
    write_json(path.with_suffix(".json"), about)
    return path


def load_mri(path: Path) -> PreparedMri:
    """Return prepared volumes, memory-mapped."""
    about = _about(path)
    return PreparedMri(
        array=np.load(path, mmap_mode="r"),
        available=np.array(about["available"], dtype=bool),
        affine=np.array(about["affine"]),
        aligned=bool(about["aligned"]),
        sources=about["sources"],
    )


def prepare_slides(
    case: Case, inputs: InputConfig, work: Path, encoder: Encoder
) -> Iterator[tuple[int, int]]:
    """Turn a case's slides into bags, yielding patches done and patches in all.

    Feature files in the cohort table are used as they are.

    Raises
    ------
    SlideError
        If a slide cannot be read, or lacks its resolution.
    """
    for number, path in enumerate(case.slides):
        if path.suffix in FEATURE_SUFFIXES:
            continue
        out = _bag_path(case, number, work)
        with open_slide(path, source_mpp=case.slide_mpp[number]) as slide:
            about = describe(slide, inputs.tissue, inputs.patches)
            if not is_made(out, {**about, **encoder.attributes}):
                layout = lay_out(slide, inputs.tissue, inputs.patches)
                yield from extract(layout, out, encoder)


def prepared_case(case: Case, inputs: InputConfig, work: Path) -> PreparedCase:
    """Return where a prepared case lies.

    Raises
    ------
    FeatureError
        If a slide of the case has no bag.
    """
    sources: dict[str, str] = {}
    mri = _mri_path(case, inputs.mri, work) if case.volumes else None
    if mri is not None:
        sources |= _about(mri)["sources"]
    bags = []
    for number, path in enumerate(case.slides):
        given = path.suffix in FEATURE_SUFFIXES
        bag = path if given else _bag_path(case, number, work)
        attributes = read_attributes(bag)
        if attributes is None:
            raise FeatureError(f"{path.name} has no features yet: run `harm3 prepare`.")
        column = "wsi" if number == 0 else f"wsi{number + 1}"
        sources[column] = str(attributes.get("slide_fingerprint") or sha256_of(bag))
        bags.append(bag)
    return PreparedCase(case=case, mri=mri, bags=tuple(bags), sources=sources)


def _mri_path(case: Case, config: MriConfig, work: Path) -> Path:
    return work / "mri" / case.case_id / f"{recipe_hash(config)}.npy"


def _bag_path(case: Case, number: int, work: Path) -> Path:
    return work / "slides" / f"{case.case_id}-{number}.harm3.h5"


def _fresh_mri(case: Case, path: Path) -> bool:
    """Return whether prepared volumes are those of the case's files.

    A file of unchanged size and time is taken as unchanged; any other is read.
    """
    if not path.exists():
        return False
    about = _about(path)
    if set(about.get("sources", {})) != set(case.volumes):
        return False
    for role in ROLES:
        file = case.volumes.get(role)
        if file is None or about.get("stamps", {}).get(role) == _stamp(file):
            continue
        if not file.exists() or sha256_of(file) != about["sources"][role]:
            return False
    return True


def _stamp(file: Path) -> list[Any] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [str(file.resolve()), status.st_size, status.st_mtime_ns]


def _about(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return about
