"""Parts of one DICOM series: a volume each, or pieces of one that was split.

Echoes and times of a series lie at the same places. Slices of one volume that differ by
an oversight (a rounded echo time, a second frame of reference) lie at places of their
own, and no part of them is the whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from napari_harm3.errors import VolumeError
from napari_harm3.mri.dicom_headers import Header, read_headers
from napari_harm3.mri.series import PLANE_COSINE, SeriesInfo
from napari_harm3.mri.stack import UNEVEN_MM

SPLIT = (
    "a piece of a split series, whose slices differ in frame of reference, echo, time, "
    "image type or matrix: export it again as one volume, or write a role if this "
    "piece alone is meant"
)


def split_parts(series: Iterable[SeriesInfo]) -> set[SeriesInfo]:
    """Return the images whose series has slices, in another part, that they lack."""
    parts: dict[tuple[object, ...], list[SeriesInfo]] = defaultdict(list)
    for info in series:
        if info.modality == "MR":
            parts[info.patient.key, info.study_date, info.uid].append(info)
    return {
        part
        for members in parts.values()
        if len(members) > 1 and any(info.sequence for info in members)
        for part in _pieces(members)
    }


def _pieces(parts: Sequence[SeriesInfo]) -> list[SeriesInfo]:
    files = {file for part in parts for file in part.files}
    headers = {file: _headers(file) for file in files}
    whole = [header for some in headers.values() for header in some]
    own = {part: _own(part, headers) for part in parts}
    return [part for part, mine in own.items() if mine and _lacks(mine, whole)]


def _headers(file: Path) -> list[Header]:
    try:
        return read_headers(file)
    except VolumeError:
        return []  # it is a fault of its series already


def _own(part: SeriesInfo, headers: dict[Path, list[Header]]) -> list[Header]:
    found = [header for file in part.files for header in headers[file]]
    return [one for one in found if not part.frames or one.frame in part.frames]


def _lacks(own: Sequence[Header], whole: Sequence[Header]) -> bool:
    """Return whether a series has slices of a part's plane at places of their own."""
    normal = own[0].slice.normal
    mine = _places(own, normal)
    if not mine.size:  # what it says of its place is impossible: a fault already
        return False
    apart = np.abs(_places(whole, normal)[:, None] - mine).min(axis=1)
    return bool((apart > UNEVEN_MM).any())


def _places(
    headers: Sequence[Header], normal: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "N"]:
    """Return where the images of a plane lie along its normal, in mm."""
    slices = [header.slice for header in headers]
    alike = [one for one in slices if abs(one.normal @ normal) > PLANE_COSINE]
    return np.array([one.position_mm @ normal for one in alike])
