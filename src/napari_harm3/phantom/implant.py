"""Lesions in a body: where they lie, and how a volume shows them."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_harm3.errors import VolumeError
from napari_harm3.mri.resampling import area_fractions
from napari_harm3.mri.volume import Geometry
from napari_harm3.phantom.body import Body
from napari_harm3.phantom.lesions import STEP_MM, Shape, Stamp, stamp

RATIOS = {"t1": 1.6, "t2": 1.5}
"""Signal of a lesion against the median of the body."""

TEXTURE = 0.10
"""Spread of a lesion's signal from place to place, as a share of it."""

GRAIN_MM = 2.5
"""Size of that texture."""

TEXTURE_CELLS = 48
NODE = 0.3
"""Share of the cases that have a node too, where the annotations have any."""

TILT = 30.0
GAP = 6
"""Steps of `STEP_MM` that two lesions lie apart, at least."""

Fractions = Mapping[int, Float[np.ndarray, "X Y Z"]]
"""Label to which share of each voxel it fills."""


def place_lesions(
    body: Body, shapes: Sequence[Shape], rng: np.random.Generator
) -> list[tuple[str, Stamp]]:
    """Return a primary tumour and perhaps a node, with the names of their shapes.

    Raises
    ------
    VolumeError
        If there is no body, or no lesion fits in it.
    """
    if not body.inside.any():
        raise VolumeError(
            "The volumes show no body in common: check that each shows the patient, "
            "and that they lie on each other."
        )
    with_node = rng.random() < NODE
    primary = [shape for shape in shapes if shape.label == 1] or list(shapes)
    placed = [_placed(body, primary, rng)]
    nodes = [shape for shape in shapes if shape.label == 2]
    if with_node and len(primary) < len(shapes):
        _, first = placed[0]
        grown = ndimage.binary_dilation(np.pad(first.pre, GAP), iterations=GAP)
        points = (np.argwhere(grown) - GAP) * STEP_MM + first.grid.affine[:3, 3]
        with contextlib.suppress(VolumeError):  # a small body has no room for two
            placed.append(_placed(body.without(points), nodes, rng))
    return placed


def _placed(
    body: Body, shapes: Sequence[Shape], rng: np.random.Generator
) -> tuple[str, Stamp]:
    for number in rng.permutation(len(shapes)):
        shape = shapes[number]
        turn = _turn(rng)
        voxels = np.argwhere(shape.pre)
        offsets = (voxels - voxels.mean(axis=0)) @ (turn @ shape.axes).T
        # One of the points in each 2 mm tells as much.
        offsets = np.unique(np.rint(offsets / 2), axis=0) * 2
        for place in body.places(rng, offsets):
            return shape.name, stamp(shape, turn, place)
    raise VolumeError(
        f"None of {len(shapes)} lesions fits in the body that the volumes share: give "
        "smaller lesions, or larger volumes."
    )


def _turn(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    about, *tilts = rng.uniform(-1, 1, 3)
    angles = [180 * about, TILT * tilts[0], TILT * tilts[1]]
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1, 1])
    return Rotation.from_euler("zyx", angles, degrees=True).as_matrix() @ mirror


def lesion_fractions(
    stamps: Sequence[Stamp], ratio: float, grid: Geometry
) -> Fractions:
    """Return which share of each voxel of a grid each label's lesions fill.

    Parameters
    ----------
    stamps
        In the common space.
    ratio
        Share of their volume that is left.
    grid
        A volume's, as `mri.resampling.placed` in the common space.
    """
    found: dict[int, Float[np.ndarray, "X Y Z"]] = {}
    for one in stamps:
        share = area_fractions(one.left(ratio), one.grid, grid)
        found[one.label] = found[one.label] + share if one.label in found else share
    return found


def labels_of(fractions: Fractions) -> UInt8[np.ndarray, "X Y Z"]:
    """Return the label of each voxel: the fullest, as many as the lesion's volume has.

    A bound of one half would take a few percent off every small round lesion.
    """
    first = next(iter(fractions.values()))
    labels = np.zeros(first.shape, dtype=np.uint8)
    for label, share in fractions.items():
        filled = np.flatnonzero(share)
        order = np.argsort(-share.ravel()[filled], kind="stable")
        labels.ravel()[filled[order[: round(float(share.sum()))]]] = label
    return labels


def blended(
    array: Float[np.ndarray, "X Y Z"],
    fractions: Fractions,
    grid: Geometry,
    *,
    signal: float,
    texture: Float[np.ndarray, "n n n"],
) -> Float[np.ndarray, "X Y Z"]:
    """Return a volume with lesions in it.

    Parameters
    ----------
    array, grid
        The volume, and its grid in the common space.
    fractions
        On the same grid.
    signal
        Of a lesion, in the volume's units.
    texture
        Of the lesion, of unit spread, in cells of the common space.
    """
    result = array.copy()
    for share in fractions.values():
        where = np.nonzero(share)
        if not len(where[0]):
            continue
        points = np.stack(where).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        grain = ndimage.map_coordinates(
            texture, points.T / GRAIN_MM, order=1, mode="grid-wrap"
        )
        part = share[where]
        tissue = signal * (1 + TEXTURE * grain.astype(np.float32))
        result[where] = (1 - part) * array[where] + part * tissue
    return result


def draw_texture(rng: np.random.Generator) -> Float[np.ndarray, "n n n"]:
    """Return a random field of unit spread that repeats without a seam."""
    field = rng.normal(size=(TEXTURE_CELLS,) * 3)
    field = ndimage.gaussian_filter(field, 0.8, mode="wrap")
    return np.asarray(field / field.std(), dtype=np.float32)
