"""Whether the network needs what a heat map points to.

The most evident cells are taken out of the volumes (deletion), or put into volumes
that have nothing in them (insertion), and the logit is followed. It has to fall and
to rise faster than with blobs of the same size and form elsewhere: the same map,
shifted and mirrored at random. A cell is what lies nearest to its centre, less at one
border than at the other, so that steps are counted in voxels: within a cell, as many
of each volume for the map as for a blob.

References: Petsiuk et al., RISE, BMVC 2018; Samek et al., Evaluating the
visualization of what a deep neural network has learned, TNNLS 2017.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d, interpolate

from napari_harm3.cohort.case import AXES, ROLES
from napari_harm3.explain.capture import evaluating
from napari_harm3.explain.cells import CellMaps, Centres, equal_shares
from napari_harm3.models.interface import CaseBatch

STEPS = 20
BLOBS = 20
MOST = 0.5
"""Share of the voxels that is taken out or put in at the last step. Many maps are flat
where they show no evidence, and there the order of cells means nothing."""

ROWS = 8
"""Variants of a case that pass the network at once."""

Nearest = tuple[Int[np.ndarray, "D"], Int[np.ndarray, "H"], Int[np.ndarray, "W"]]
Fill = Callable[[Float[Tensor, "V D H W"]], Float[Tensor, "V D H W"]]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Logit at each step: by evidence, and by each random blob."""

    evident: Float[np.ndarray, "steps"]
    random: Float[np.ndarray, "blobs steps"]
    area: float
    """Between the mean random curve and the evident one, in units of the logit, times
    the share of the voxels; above zero the map is faithful."""

    p: float
    """One-sided: how often random blobs do as well, the map itself counted."""


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Both curves of one case."""

    share: Float[np.ndarray, "steps"]
    """Of all voxels, taken out or put in."""

    deletion: Curves
    insertion: Curves


@dataclass(frozen=True, kw_only=True)
class FaithfulnessStep:
    """How far the trial is; the last step carries both curves."""

    step: int
    """Curves that are drawn."""

    of: int
    found: Faithfulness | None = None


@dataclass(frozen=True, kw_only=True)
class _Volumes:
    """The mapped volumes of a case, whole and emptied."""

    batch: CaseBatch
    places: tuple[tuple[int, int], ...]
    """Sequence and time of each."""

    whole: Float[Tensor, "V D H W"]
    empty: Float[Tensor, "V D H W"]


def faithfulness_steps(  # noqa: PLR0913 - each is a choice of the experiment
    network: nn.Module,
    batch: CaseBatch,
    maps: CellMaps,
    *,
    centres: Centres | None = None,
    steps: int = STEPS,
    most: float = MOST,
    blobs: int = BLOBS,
    seed: int = 0,
    fill: Fill | None = None,
) -> Iterator[FaithfulnessStep]:
    """Yield a step a curve; the last one holds deletion and insertion of a case.

    To stop is to close the iterator: the network is left as it was, at every step.

    Parameters
    ----------
    network
        Asked in evaluation mode, and left in its own.
    batch
        One case, on the network's device.
    maps
        Its maps by role, on one scale, of evidence for what the logit is of.
    centres
        Where their cells lie; `equal_shares` of the grid if they are not known.
    steps
        Points of each curve after the first; never more than there are cells.
    most
        Share of the voxels at the last of them.
    blobs
        Random shifts of the map.
    seed
        Of the shifts, and of the order of equal cells.
    fill
        What stands where a volume is empty; by default the volume so blurred that
        only its coarsest shades remain.
    """
    roles = [role for role in ROLES if role in maps]
    cams = np.stack([maps[role] for role in roles]) if roles else np.zeros(1)
    if cams.max() <= cams.min():
        yield FaithfulnessStep(step=0, of=0)
        return
    rng = np.random.default_rng(seed)
    share = np.linspace(0, most, min(steps, max(round(most * cams.size), 1)) + 1)
    evident = _order(cams, rng)
    orders = [evident, *(_order(_elsewhere(cams, rng), rng) for _ in range(blobs))]
    volumes = _volumes(batch, roles, fill or _blurred)
    nearest = _nearest(cams.shape[1:], volumes.whole.shape[1:], centres)
    voxels = np.tile(_voxels(nearest, cams.shape[1:]).ravel(), len(cams))
    deletion, insertion = [], []
    for number, order in enumerate(orders, start=1):
        # The maps share a scale, but a random blob is paired volume by volume.
        taken = _like(order, evident, len(cams))
        keep = _kept(taken, voxels, share).reshape(-1, *cams.shape)
        deletion.append(_logits(network, volumes, keep, nearest))
        insertion.append(_logits(network, volumes, ~keep, nearest))
        if number < len(orders):
            yield FaithfulnessStep(step=number, of=len(orders))
    found = Faithfulness(
        share=share,
        deletion=_curves(np.stack(deletion), share, sign=-1),
        insertion=_curves(np.stack(insertion), share, sign=1),
    )
    yield FaithfulnessStep(step=len(orders), of=len(orders), found=found)


def _order(
    cams: Float[np.ndarray, "V d h w"], rng: np.random.Generator
) -> Int[np.ndarray, "cells"]:
    """Return the cells of all volumes, the most evident first, equal ones at random."""
    return np.lexsort((rng.random(cams.size), -cams.ravel()))


def _elsewhere(
    cams: Float[np.ndarray, "V d h w"], rng: np.random.Generator
) -> Float[np.ndarray, "V d h w"]:
    """Return the maps, each shifted round its grid and mirrored; never as it was."""
    moved = []
    for cam in cams:
        number = int(rng.integers(1, max(cam.size, 2)))
        shift = np.unravel_index(number % cam.size, cam.shape)
        mirrored = np.flip(cam, tuple(axis for axis in range(3) if rng.random() < 0.5))
        moved.append(np.roll(mirrored, shift, axis=(0, 1, 2)))
    return np.stack(moved)


def _like(
    order: Int[np.ndarray, "cells"], evident: Int[np.ndarray, "cells"], volumes: int
) -> Int[np.ndarray, "cells"]:
    """Return an order in which the volumes take turns as in the evident one."""
    size = len(order) // volumes
    taken = np.empty_like(order)
    for volume in range(volumes):
        taken[evident // size == volume] = order[order // size == volume]
    return taken


def _nearest(
    cells: Sequence[int], size: Sequence[int], centres: Centres | None
) -> Nearest:
    """Return which cell is the nearest to each voxel, along z, y, x."""
    centres = centres or equal_shares(cells, size)
    z, y, x = (
        np.floor((np.arange(voxels) - start) / step + 0.5)
        .clip(0, count - 1)
        .astype(int)
        for voxels, count, start, step in zip(
            size, cells, centres.start, centres.step, strict=True
        )
    )
    return z, y, x


def _voxels(nearest: Nearest, cells: Sequence[int]) -> Int[np.ndarray, "d h w"]:
    """Return how many voxels each cell has."""
    z, y, x = (
        np.bincount(along, minlength=count)
        for along, count in zip(nearest, cells, strict=True)
    )
    return z[:, None, None] * y[:, None] * x


def _kept(
    order: Int[np.ndarray, "cells"],
    voxels: Int[np.ndarray, "cells"],
    share: Float[np.ndarray, "steps"],
) -> Bool[np.ndarray, "steps cells"]:
    """Return which cells are still there once a share of the voxels has gone."""
    gone = np.empty(len(order))
    gone[order] = voxels[order].cumsum() - voxels[order] / 2
    return gone[None] >= share[:, None] * voxels.sum()


def _volumes(batch: CaseBatch, roles: Sequence[str], fill: Fill) -> _Volumes:
    places = tuple(AXES[role] for role in roles)
    whole = torch.stack([batch.mri[0, s, t, 0] for s, t in places])
    return _Volumes(batch=batch, places=places, whole=whole, empty=fill(whole))


def _blurred(volumes: Float[Tensor, "V D H W"]) -> Float[Tensor, "V D H W"]:
    coarse = adaptive_avg_pool3d(volumes[:, None], (2, 2, 2))
    size = list(volumes.shape[1:])
    return interpolate(coarse, size=size, mode="trilinear", align_corners=False)[:, 0]


def _logits(
    network: nn.Module,
    volumes: _Volumes,
    keep: Bool[np.ndarray, "steps V d h w"],
    nearest: Nearest,
) -> Float[np.ndarray, "steps"]:
    """Return the logit with some cells whole and the others empty."""
    found = []
    z, y, x = (torch.from_numpy(along).to(volumes.whole.device) for along in nearest)
    with evaluating(network), torch.inference_mode():
        for rows in np.array_split(keep, range(ROWS, len(keep), ROWS)):
            cells = torch.from_numpy(rows).to(volumes.whole.device)
            fine = cells[:, :, z[:, None, None], y[:, None], x]
            mixed = torch.where(fine, volumes.whole, volumes.empty)
            logit = network(_variants(volumes, mixed)).logit
            found.append(logit.double().cpu().numpy())
    return np.concatenate(found)


def _variants(volumes: _Volumes, mixed: Float[Tensor, "R V D H W"]) -> CaseBatch:
    """Return the case once a row, with its volumes replaced."""
    many = volumes.batch.repeated(0, len(mixed))
    mri = many.mri.clone()
    for number, (sequence, time) in enumerate(volumes.places):
        mri[:, sequence, time, 0] = mixed[:, number]
    return replace(many, mri=mri)


def _curves(
    logits: Float[np.ndarray, "orders steps"],
    share: Float[np.ndarray, "steps"],
    *,
    sign: int,
) -> Curves:
    areas = sign * np.trapezoid(logits, share, axis=1)
    evident, random = areas[0], areas[1:]
    as_good = np.count_nonzero(random >= evident - 1e-12)
    return Curves(
        evident=logits[0],
        random=logits[1:],
        area=float(evident - random.mean()) if len(random) else float("nan"),
        p=float((1 + as_good) / (1 + len(random))),
    )
