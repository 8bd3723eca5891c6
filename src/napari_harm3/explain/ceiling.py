"""The best that a map of given cells could show of a mask: the resolution's ceiling.

A map is trilinear between the centres of its cells, so that it is a sum of tents, one
a cell. The largest share of a map's sum in a mask is therefore that of a single tent;
no mixture has more. For the other figures there is no such proof: they are taken of
maps that show the mask as well as its cells allow, one of them fitted by gradient, and
the best of them counts.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, sparse
from scipy.special import expit

from napari_harm3.explain.cells import CellGrid, drawn
from napari_harm3.mri.resampling import resample
from napari_harm3.mri.volume import Geometry

SAMPLES = 8
"""Voxels of a cell along each axis that its tent is summed over, at least."""

REACH = 2.5
"""A voxel of the mask is this many cells at most from any voxel under a tent that
touches it, unless the outer cells hold more than that beyond their centres."""

STEEPNESS = (10.0, 30.0, 100.0)
"""Of the soft threshold, in turn: the harder, the nearer to Dice, but the flatter."""

STEPS = 40
"""Of the fit at each steepness."""

MARGIN = 1e-4
"""Of a map's highest value, by which one voxel stands out among all others."""

CUTS, ROUNDS = 5, 20
"""Rivals that are added to a linear program at a time, and how often at most."""


@dataclass(frozen=True, kw_only=True)
class Tents:
    """The tents that touch a mask."""

    shares: Float[np.ndarray, "d h w"]
    """How much of each tent lies in the mask. The greatest is the largest share of a
    map's sum that these cells can put there: exact where a cell has fewer than 16
    voxels along each axis, else to about 1 %."""

    cover: sparse.csr_array
    """[voxels, cells]: the tents at the voxels around the mask."""

    voxels: Int[np.ndarray, "voxels 3"]
    """Where these are."""

    marked: Float[np.ndarray, "voxels"]
    """1 where such a voxel is of the mask."""


def tents(
    mask: Bool[np.ndarray, "X Y Z"],
    seen: Bool[np.ndarray, "X Y Z"],
    native: Geometry,
    cells: Geometry,
) -> Tents:
    """Return the tents that touch a mask.

    Parameters
    ----------
    mask
        Not empty; within ``seen``.
    seen
        Voxels inside the model's field of view.
    native, cells
        The volume's grid, and that of the map's cells.
    """
    to_cells = np.linalg.inv(cells.affine) @ native.affine
    own = _cover(np.argwhere(mask), to_cells, cells.shape).sum(axis=0)
    voxels, weight = _around(mask, seen, to_cells, reach=_reach(cells))
    cover = _cover(voxels, to_cells, cells.shape)
    whole = weight * cover.sum(axis=0)
    shares = np.divide(own, whole, out=np.zeros_like(own), where=whole > 0)
    return Tents(
        shares=np.minimum(shares, 1).astype(np.float32).reshape(cells.shape),
        cover=cover,
        voxels=voxels,
        marked=mask[tuple(voxels.T)].astype(float),
    )


def most_pointing(
    around: Tents, place: Bool[np.ndarray, "X Y Z"] | None = None
) -> float:
    """Return the largest share of a map's highest voxels that are in a place.

    Of maps with one highest cell, or with neighbours that are equally high, between
    whose centres the map is level, and of maps made to be highest in the place: between
    their centres cells are high together, so that it need not hold one.

    Parameters
    ----------
    around
        Tents that touch the mask.
    place
        Where the map is to point; the mask if not given.
    """
    marked = around.marked > 0
    if place is not None:
        marked = place[tuple(around.voxels.T)]
    if not marked.any():
        return 0.0
    by_cell = around.cover.tocsc()
    number = np.arange(around.shares.size).reshape(around.shares.shape)
    best, height = 0.0, np.empty(len(marked))
    blocks = itertools.product(np.argwhere(around.shares), np.ndindex(2, 2, 2))
    for cell, more in blocks:
        block = tuple(slice(c, c + m + 1) for c, m in zip(cell, more, strict=True))
        height[:] = 0
        for one in number[block].flat:
            own = slice(by_cell.indptr[one], by_cell.indptr[one + 1])
            height[by_cell.indices[own]] += by_cell.data[own]
        best = max(best, float(marked[height >= height.max() - 1e-6].mean()))
        if best == 1:
            return best
    return 1.0 if _can_peak(around.cover, marked) else best


def _can_peak(cover: sparse.csr_array, marked: Bool[np.ndarray, "voxels"]) -> bool:
    """Return whether a map is highest at some marked voxel, and nowhere else.

    Tried is, for each cell, the marked voxel where its tent is highest.
    """
    inside = np.flatnonzero(marked)
    own = cover[inside].tocsc()
    touching = np.flatnonzero(np.diff(own.indptr))
    tried = {int(own[:, [cell]].toarray().argmax()) for cell in touching}
    rivals = cover[~marked].tocsc()
    return any(_stands_out(cover[[inside[one]]], rivals) for one in sorted(tried))


def _stands_out(voxel: sparse.csr_array, rivals: sparse.csc_array) -> bool:
    """Return whether cells can be so high that a voxel is above all its rivals.

    A linear program, of the rivals alone that were above it so far. Only the cells that
    cover the voxel are high: any other would help its rivals alone.
    """
    cells, own = voxel.indices, voxel.data
    others = rivals[:, cells].toarray()
    values, ahead = own / own.max(), np.empty((0, len(own)))
    for _ in range(ROUNDS):
        lead = (own - others) @ values
        if lead.min(initial=1) >= MARGIN:
            return True
        ahead = np.vstack([ahead, others[np.argsort(lead)[:CUTS]] - own])
        # The last variable is the lead over all of these, which is to be greatest.
        found = optimize.linprog(
            [*np.zeros(len(own)), -1],
            A_ub=np.column_stack([ahead, np.ones(len(ahead))]),
            b_ub=np.zeros(len(ahead)),
            bounds=[(0, 1)] * len(own) + [(None, 1)],
        )
        if found.x is None or -found.fun < MARGIN:
            return False
        values = found.x[:-1]
    return False


def best_maps(
    mask: Bool[np.ndarray, "X Y Z"], around: Tents, native: Geometry, cells: Geometry
) -> list[Float[np.ndarray, "X Y Z"]]:
    """Return maps that show a mask as well as its cells allow, on the volume's grid.

    They are the mask's share of each cell, that of each tent, the one tent that has
    most of its sum in the mask, and what fits Dice best.
    """
    tent = np.zeros_like(around.shares)
    tent[np.unravel_index(int(around.shares.argmax()), tent.shape)] = 1
    coarse = resample(mask.astype(np.float32), native, cells)
    maps = (coarse, around.shares, tent, _fitted(around))
    # Of a mask that lies between the centres of all cells, they have no share.
    return [drawn(one, cells, native) for one in maps if one.any()]


def _fitted(around: Tents) -> Float[np.ndarray, "d h w"]:
    """Return the cells whose map, cut at one, has most Dice with the mask.

    The cut is softened, so that Dice has a gradient.
    """
    touching = np.flatnonzero(around.shares)
    cover = around.cover[:, touching]
    near = np.diff(cover.indptr) > 0
    cover, marked = cover[near], around.marked[near]
    if not marked.any():  # too small a mask for the voxels that are looked at
        return around.shares
    across = cover.T.tocsr()

    def loss(
        values: Float[np.ndarray, "t"], steepness: float
    ) -> tuple[float, Float[np.ndarray, "t"]]:
        soft = expit(steepness * (cover @ values - 1))
        both, overlap = soft.sum() + marked.sum(), soft @ marked
        slope = steepness * soft * (1 - soft) * (overlap / both - marked) * 2 / both
        return float(-2 * overlap / both), across @ slope

    values = around.shares.flat[touching].astype(float)
    values /= max(float(np.median((cover @ values)[marked > 0])), 1e-9)
    for steepness in STEEPNESS:
        values = optimize.minimize(
            loss,
            values,
            args=(steepness,),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * len(values),
            options={"maxiter": STEPS},
        ).x
    fitted = np.zeros(around.shares.size, np.float32)
    fitted[touching] = values
    return fitted.reshape(around.shares.shape)


def _cover(
    voxels: Int[np.ndarray, "m 3"],
    to_cells: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
) -> sparse.csr_array:
    """Return the weight of each cell's tent at each voxel: eight a voxel."""
    size = np.array(shape)
    # What lies beyond the outer centres keeps the value of the edge.
    place = np.clip(voxels @ to_cells[:3, :3].T + to_cells[:3, 3], 0, size - 1)
    low = np.minimum(place.astype(int), np.maximum(size - 2, 0))
    part = place - low
    weights = np.empty((len(voxels), 8))
    columns = np.empty((len(voxels), 8), np.int32)
    for number, corner in enumerate(itertools.product((0, 1), repeat=3)):
        weights[:, number] = np.prod(np.where(corner, part, 1 - part), axis=1)
        index = np.minimum(low + corner, size - 1)
        columns[:, number] = np.ravel_multi_index(tuple(index.T), shape)
    rows = np.arange(0, 8 * len(voxels) + 1, 8)
    cover = sparse.csr_array(
        (weights.ravel(), columns.ravel(), rows), (len(voxels), int(size.prod()))
    )
    cover.eliminate_zeros()
    return cover


def _reach(cells: Geometry) -> Float[np.ndarray, "3"]:
    """Return how many cells a voxel under a tent may be away from the mask, at most."""
    if not isinstance(cells, CellGrid):
        return np.full(3, REACH)
    first, last = cells.view
    held = np.maximum(-first, last - (np.array(cells.shape) - 1))
    return np.maximum(held + REACH - 1, REACH)


def _around(
    mask: Bool[np.ndarray, "X Y Z"],
    seen: Bool[np.ndarray, "X Y Z"],
    to_cells: Float[np.ndarray, "4 4"],
    *,
    reach: Float[np.ndarray, "3"],
) -> tuple[Int[np.ndarray, "m 3"], int]:
    """Return the voxels under all tents that touch a mask, and what each stands for."""
    step = np.abs(to_cells[:3, :3])
    strides = np.maximum(1 / step.max(axis=0) / SAMPLES, 1).astype(int)
    far = np.ceil(np.abs(np.linalg.inv(to_cells)[:3, :3]) @ reach)
    box = []
    for axis, stride in enumerate(strides):
        along = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        start = max(int(along[0] - far[axis]), 0) + stride // 2
        box.append(slice(start, int(along[-1] + far[axis]) + 1, int(stride)))
    voxels = np.argwhere(seen[tuple(box)]) * strides
    return voxels + [along.start for along in box], int(strides.prod())
