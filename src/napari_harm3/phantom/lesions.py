"""Lesions of real shape, and what real treatment leaves of them."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from napari_harm3.errors import VolumeError
from napari_harm3.mri.labels import LABELS
from napari_harm3.mri.volume import Geometry, Volume, read_nifti

SUFFIXES = (".nii", ".nii.gz")
BEFORE, AFTER = "pre", "post"
TIME = re.compile(r"(?i)(?<![a-z])(pre|mid|post)(?:rt|op|treatment)?(?![a-z])")
LEAST_ML = 0.5
"""A smaller part of an annotation is a speck of its drawing."""

STEP_MM = 1.0
"""Distance of the points by which a lesion is laid into a body."""

EDGE = 2
"""Voxels of air around a lesion in its own grid."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One connected lesion of an annotation."""

    name: str
    """The file it is of, and its number there."""

    label: int
    """1 primary, 2 node."""

    pre: Bool[np.ndarray, "x y z"]
    post: Bool[np.ndarray, "x y z"] | None
    """What treatment left of it; None where nobody drew that."""

    axes: Float[np.ndarray, "3 3"]
    """From steps of one voxel to RAS mm."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A lesion at its place in a body."""

    grid: Geometry
    """In the common space."""

    pre: Bool[np.ndarray, "n n n"]
    depth: Float[np.ndarray, "n n n"]
    """How long each point lasts under treatment: mm inside what real treatment left,
    or inside the lesion."""

    label: int

    def left(self, ratio: float) -> Bool[np.ndarray, "n n n"]:
        """Return the lesion when a share of its volume is left, the deepest."""
        inside = np.flatnonzero(self.pre)
        order = np.argsort(-self.depth.ravel()[inside], kind="stable")
        left = np.zeros(self.pre.size, dtype=bool)
        left[inside[order[: round(ratio * len(inside))]]] = True
        return left.reshape(self.pre.shape)

    def volume_ml(self, ratio: float = 1.0) -> float:
        """Return the volume of what is left."""
        return float(self.left(ratio).sum() * STEP_MM**3 / 1000)

    def centroid(self, ratio: float = 1.0) -> Float[np.ndarray, "3"] | None:
        """Return the middle of what is left, RAS mm; None if nothing is."""
        points = np.argwhere(self.left(ratio))
        if not len(points):
            return None
        return self.grid.affine[:3, :3] @ points.mean(axis=0) + self.grid.affine[:3, 3]


def find_shapes(folder: Path) -> tuple[list[Shape], list[str]]:
    """Return every lesion of a folder's annotations, in the order of their names.

    Files whose names differ in ``pre`` and ``mid`` (or ``post``) alone, on one grid,
    are one patient's before and after. The sentences tell of each file from after
    treatment that stands for nothing.

    Raises
    ------
    VolumeError
        If an annotation cannot be read, or there is none of `LEAST_ML`.
    """
    named: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(p for p in folder.rglob("*") if p.name.endswith(SUFFIXES)):
        within = path.relative_to(folder).as_posix()
        found = TIME.findall(within.replace("_", " "))
        key = TIME.sub("", within.replace("_", " ")).replace(" registered", "")
        time = BEFORE if not found or found[-1].lower() == BEFORE else AFTER
        if time in named[key]:
            key = within  # two of one name: each stands for itself
        named[key][time] = path
    shapes: list[Shape] = []
    notes: list[str] = []
    specks = 0
    for files in named.values():
        if BEFORE in files:
            found, small = _shapes(files[BEFORE], files.get(AFTER))
            shapes += found
            specks += small
        else:
            notes.append(
                f"{files[AFTER].name} has no annotation from before treatment of its "
                "own: it is left out."
            )
    if specks and not shapes:
        raise VolumeError(
            f"{folder.name} holds no lesion of {LEAST_ML} ml or more (number of "
            f"smaller ones: {specks}): give annotations of larger ones."
        )
    if not shapes:
        raise VolumeError(
            f"{folder.name} holds no lesion: give a folder of NIfTI annotations, "
            "1 primary and 2 nodes."
        )
    return shapes, notes


def stamp(
    shape: Shape, turn: Float[np.ndarray, "3 3"], place: Float[np.ndarray, "3"]
) -> Stamp:
    """Return a lesion, turned or mirrored about its middle, at a place in RAS mm."""
    axes = turn @ shape.axes
    middle = np.argwhere(shape.pre).mean(axis=0)
    reach = np.abs(axes @ (np.argwhere(shape.pre) - middle).T).max() + 2 * STEP_MM
    side = 2 * int(np.ceil(reach / STEP_MM)) + 1
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = place - STEP_MM * (side - 1) / 2
    to_shape = np.linalg.inv(axes)
    offset = middle + to_shape @ (affine[:3, 3] - place)

    def laid(mask: Bool[np.ndarray, "x y z"]) -> Float[np.ndarray, "n n n"]:
        return np.asarray(
            ndimage.affine_transform(
                _depth(mask, shape.axes),
                to_shape * STEP_MM,
                offset,
                output_shape=(side,) * 3,
                order=1,
                mode="nearest",
            )
        )

    whole = laid(shape.pre)
    rest = shape.pre if shape.post is None or not shape.post.any() else shape.post
    return Stamp(
        grid=Geometry(shape=(side, side, side), affine=affine),
        pre=whole > 0,
        # Both at least: what is laid at the rim by rounding would else outlast it.
        depth=np.minimum(whole, laid(rest)),
        label=shape.label,
    )


def _depth(
    mask: Bool[np.ndarray, "x y z"], axes: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "x y z"]:
    """Return how many mm a voxel lies inside a mask; negative outside."""
    spacing = np.linalg.norm(axes, axis=0)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return (inside - outside).astype(np.float32)


def _shapes(before: Path, after: Path | None) -> tuple[list[Shape], int]:
    """Return the lesions of an annotation, and how many parts are specks."""
    pre = read_nifti(before)
    post = None if after is None else read_nifti(after)
    if post is not None and not post.same_as(pre):
        post = None  # another grid says nothing of what is where
    shapes: list[Shape] = []
    specks = 0
    for label in LABELS:
        parts, count = ndimage.label(pre.array == label, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:] * pre.voxel_ml
        boxes = ndimage.find_objects(parts)
        for number in range(1, count + 1):
            if sizes[number - 1] < LEAST_ML:
                specks += 1
                continue
            shapes.append(
                Shape(
                    name=f"{before.name.split('.')[0]}-{len(shapes) + 1}",
                    label=label,
                    pre=np.pad(parts[boxes[number - 1]] == number, EDGE),
                    post=_rest(post, label, boxes[number - 1]),
                    axes=pre.affine[:3, :3],
                )
            )
    return shapes, specks


def _rest(
    post: Volume | None, label: int, box: tuple[slice, ...]
) -> Bool[np.ndarray, "x y z"] | None:
    return None if post is None else np.pad(post.array[box] == label, EDGE)
