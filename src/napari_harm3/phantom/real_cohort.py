"""A cohort of lesions whose truth is known, in a user's own volumes and slides."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.artifacts import read_record, sha256_of, write_csv
from napari_harm3.cohort.case import PARTS, ROLES
from napari_harm3.cohort.table import write_cohort
from napari_harm3.errors import CohortError
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import Transform, placed
from napari_harm3.mri.volume import Volume, write_volume
from napari_harm3.phantom.biopsy import usable_slides, write_biopsy
from napari_harm3.phantom.body import Body, body_of
from napari_harm3.phantom.case_folder import (
    DONE,
    FILES,
    begin,
    case_name,
    finish,
    finished,
    stream,
)
from napari_harm3.phantom.config import ImplantConfig
from napari_harm3.phantom.implant import (
    RATIOS,
    blended,
    draw_texture,
    labels_of,
    lesion_fractions,
    place_lesions,
)
from napari_harm3.phantom.kinetics import Response, draw_response
from napari_harm3.phantom.lesions import Shape, Stamp, find_shapes
from napari_harm3.phantom.nuisance import degraded, draw_nuisance
from napari_harm3.phantom.real_anatomy import (
    Anatomy,
    find_anatomies,
    laid_together,
    naming,
)

NAME, PREFIX = "implanted", "IM"
SIGNAL_SPREAD = 0.05
"""Of a lesion's signal from case to case, as a share; the label has no say in it."""

DECISIVE = ("seed", "null", "unchanged", "fractions")
"""What decides a case, beside its number and the files."""

TRUTH = (
    "case_id",
    "label",
    "ratio",
    "volume_pre_ml",
    "volume_post_ml",
    "x_mm",
    "y_mm",
    "z_mm",
    "responder_fraction",
    "anatomy",
    "lesions",
    "slide",
)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What cases are made from."""

    anatomies: tuple[Anatomy, ...]
    shapes: tuple[Shape, ...]
    slides: tuple[Path, ...]
    notes: tuple[str, ...]
    """A sentence on each file that cannot serve."""

    key: str
    """Changes when the content of any file does."""


@dataclass(frozen=True, kw_only=True)
class _Lesions:
    """What is implanted in a case."""

    named: Sequence[tuple[str, Stamp]]
    response: Response
    signal: Mapping[str, float]
    """Of each sequence, against the body's median."""

    texture: Float[np.ndarray, "n n n"]

    @property
    def stamps(self) -> list[Stamp]:
        return [one for _, one in self.named]

    def ratio(self, role: str) -> float:
        return self.response.ratio if role.endswith("post") else 1.0

    def volume_ml(self, ratio: float) -> float:
        return sum(one.volume_ml(ratio) for one in self.stamps)


@dataclass(frozen=True, kw_only=True)
class _Site:
    """A volume that lesions are implanted in."""

    role: str
    volume: Volume
    transform: Transform
    median: float
    """Of its body."""


def survey(config: ImplantConfig) -> Sources:
    """Return what cases are made from; volumes are laid together, if they must be.

    Raises
    ------
    CohortError, VolumeError, SlideError
        If volumes, lesions or slides are missing, or nothing lays volumes together.
    """
    if not config.lesions.is_dir():
        raise CohortError(
            f"{config.lesions.name} is no folder: give one of lesion annotations."
        )
    shapes, of_shapes = find_shapes(config.lesions)
    anatomies, of_anatomies = find_anatomies(config.anatomy)
    slides, of_slides = usable_slides(config.slides)
    laid = tuple(laid_together(anatomy) for anatomy in anatomies)
    files = [path for one in laid for path in one.volumes.values()]
    files += [one.body for one in laid if one.body is not None]
    files += [*slides, *sorted(p for p in config.lesions.rglob("*") if p.is_file())]
    moves = [one.transforms[role].tolist() for one in laid for role in ROLES]
    return Sources(
        anatomies=laid,
        shapes=tuple(shapes),
        slides=tuple(slides),
        notes=(*of_shapes, *of_anatomies, *of_slides),
        key=_digest(files, moves),
    )


def make_implanted(
    out: Path, config: ImplantConfig, sources: Sources, index: int
) -> str:
    """Write one case's files and return its name; a finished case is kept.

    Raises
    ------
    VolumeError, SlideError
        If a source cannot be read, or no lesion fits.
    """
    case_id = case_name(PREFIX, index)
    folder = out / case_id
    decisive = {name: getattr(config, name) for name in DECISIVE}
    made_of = {"made_of": decisive | {"index": index, "sources": sources.key}}
    if finished(folder, made_of):
        return case_id
    begin(folder, made_of)
    # Every part draws from its own stream, and the label from one that no other sees.
    rng = stream(config.seed, index, 0)
    anatomy = sources.anatomies[int(rng.integers(len(sources.anatomies)))]
    with naming(anatomy):
        volumes, body = _read(anatomy)
        named = place_lesions(body, sources.shapes, rng)
    lesions = _Lesions(
        named=named,
        response=draw_response(
            config.seed, index, null=config.null, unchanged=config.unchanged
        ),
        signal={
            sequence: ratio * float(1 + SIGNAL_SPREAD * rng.normal())
            for sequence, ratio in RATIOS.items()
        },
        texture=draw_texture(rng),
    )
    told, files = {}, []
    for number, role in enumerate(ROLES):
        volume = volumes[role]
        arrays, told[role] = _acquired(
            _Site(
                role=role,
                volume=volume,
                transform=anatomy.transforms[role],
                median=body.medians[role],
            ),
            lesions,
            stream(config.seed, index, 1 + number),
        )
        for prefix, array in arrays.items():
            if prefix != "fraction_" or config.fractions:
                files.append(f"{prefix}{role}.nii.gz")
                write_volume(folder / files[-1], array, volume.affine)
    slide_rng = stream(config.seed, index, 9)
    source = None
    if sources.slides:
        source = sources.slides[int(slide_rng.integers(len(sources.slides)))]
    slide = write_biopsy(
        folder / "biopsy.tif", source, lesions.response.responders, slide_rng
    )
    about = {
        **made_of,
        "anatomy": anatomy.name,
        **_truth(lesions),
        "volumes": told,
        "slide": {"source": slide.source, "responder_fraction": slide.fraction},
    }
    finish(folder, about, [*files, "biopsy.tif", "biopsy.patches.csv"])
    return case_id


def finish_implanted(out: Path, config: ImplantConfig) -> Path:
    """Write ``truth.csv``, ``cohort.json`` and, last of all, ``cohort.csv``."""
    names = [case_name(PREFIX, index) for index in range(config.cases)]
    told = [read_record(out / name / DONE) for name in names]
    truth = [_truth_row(n, about) for n, about in zip(names, told, strict=True)]
    write_csv(out / "truth.csv", truth, TRUTH)
    rows = [
        {
            "case_id": name,
            **{column: f"{name}/{column}.nii.gz" for column in FILES},
            "wsi": f"{name}/biopsy.tif",
            "pcr": str(about["label"]),
            "anatomy": about["anatomy"],
        }
        for name, about in zip(names, told, strict=True)
    ]
    table = out / "cohort.csv"
    write_cohort(
        table,
        rows,
        name=NAME,
        made_up=True,
        deidentified=False,  # the anatomy is a person's
        pcr_meaning="made up: lesions implanted in real volumes, "
        + ("regardless of it" if config.null or config.unchanged else "that tell it"),
    )
    return table


def _read(anatomy: Anatomy) -> tuple[dict[str, Volume], Body]:
    read = {path: read_volume(path) for path in set(anatomy.volumes.values())}
    shown = {path: _above_air(volume) for path, volume in read.items()}
    volumes = {role: shown[anatomy.volumes[role]] for role in ROLES}
    mask = None if anatomy.body is None else read_volume(anatomy.body)
    return volumes, body_of(volumes, anatomy.transforms, mask)


def _above_air(volume: Volume) -> Volume:
    """Return a volume as a scanner measures it: nothing is darker than air, at zero."""
    air = min(float(np.percentile(volume.array[::4, ::4], 1)), 0.0)
    return replace(volume, array=np.maximum(volume.array - np.float32(air), 0))


def _acquired(
    site: _Site, lesions: _Lesions, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a volume with its lesions, their labels and shares, and what is true.

    The arrays go by what stands before the role in the names of their files.
    """
    volume, transform = site.volume, site.transform
    there, ratio = placed(volume, transform), lesions.ratio(site.role)
    fractions = lesion_fractions(lesions.stamps, ratio, there)
    array = blended(
        volume.array,
        fractions,
        there,
        signal=site.median * lesions.signal[PARTS[site.role][0]],
        texture=lesions.texture,
    )
    nuisance = draw_nuisance(rng)
    spacing = float(volume.spacing_mm[1])
    scanned = degraded(array, nuisance, rng, spacing_mm=spacing, median=site.median)
    labels = labels_of(fractions)
    middle = lesions.stamps[0].centroid(ratio)
    own = None if middle is None else transform[:3, :3] @ middle + transform[:3, 3]
    whole = np.stack(list(fractions.values())).sum(axis=0)
    return {"": scanned, "mask_": labels, "fraction_": whole}, {
        "place_mm": None if own is None else _rounded(own),
        "from_common": transform.tolist(),
        "mask_ml": round(float((labels > 0).sum() * volume.voxel_ml), 6),
        "nuisance": nuisance.to_plain(),
    }


def _truth(lesions: _Lesions) -> dict[str, Any]:
    place = lesions.stamps[0].centroid()
    assert place is not None
    return {
        "label": lesions.response.pcr,
        "lesions": [name for name, _ in lesions.named],
        "ratio": round(lesions.response.ratio, 6),
        "volume_pre_ml": round(lesions.volume_ml(1.0), 6),
        "volume_post_ml": round(lesions.volume_ml(lesions.response.ratio), 6),
        "place_mm": _rounded(place),
    }


def _truth_row(name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    x, y, z = about["place_mm"]
    return {
        **about,
        "case_id": name,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "lesions": ";".join(about["lesions"]),
        "responder_fraction": round(about["slide"]["responder_fraction"], 6),
        "slide": about["slide"]["source"],
    }


def _rounded(values: Float[np.ndarray, "3"]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _digest(files: Sequence[Path], moves: object) -> str:
    """Return what changes when the content or name of a file, or a transform, does."""
    digest = hashlib.sha256(json.dumps(moves).encode())
    for path in files:
        parts = sorted(p for p in path.rglob("*") if p.is_file()) or [path]
        for part in parts:
            digest.update(f"{part.name} {sha256_of(part)}\n".encode())
    return digest.hexdigest()[:16]
