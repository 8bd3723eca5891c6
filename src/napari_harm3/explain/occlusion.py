"""Cover a volume cube by cube, and see what the logit loses: the check of heat maps.

It asks the network itself and nothing of its layers, and takes a forward pass a cube.

Reference: Zeiler and Fergus, Visualizing and understanding convolutional networks,
ECCV 2014.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from napari_harm3.cohort.case import AXES, ROLES
from napari_harm3.explain.capture import evaluating
from napari_harm3.explain.config import OcclusionConfig
from napari_harm3.models.interface import CaseBatch

Corner = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class OcclusionStep:
    """How far the covering is; the last step carries the maps."""

    step: int
    """Covered volumes that the network has seen."""

    of: int
    maps: dict[str, Float[np.ndarray, "B D H W"]] | None = None


def occlusion(
    network: nn.Module, batch: CaseBatch, config: OcclusionConfig
) -> Iterator[OcclusionStep]:
    """Yield a step a batch of covered volumes, and at last the maps by role.

    A map is on the model's grid, in units of the log-odds of pCR: how far the logit
    falls when the cube at this place is covered, as a mean over the cubes that cover a
    voxel; negative where the cube spoke against pCR. A voxel that no cube covers, as
    a stride beyond the cube leaves some, has that of the nearest cube. A role that no
    case has is left out; rows of cases that lack it are zero.

    To stop is to close the iterator: the network is left as it was, at every step.

    Parameters
    ----------
    network
        In any mode; asked in evaluation mode.
    batch
        One case or several, of which nothing is changed.
    config
        Cube, stride, filling and how many the network sees at once.
    """
    size = batch.mri.shape[-3:]
    starts = [
        _starts(*axis) for axis in zip(size, config.cube, config.stride, strict=True)
    ]
    depths, rows, columns = starts
    corners: list[Corner] = list(product(depths, rows, columns))
    with evaluating(network), torch.no_grad():
        whole = network(batch).logit.double().cpu().numpy()
    there = batch.mri_avail.flatten(1).cpu().numpy()
    drops = np.zeros((len(ROLES), len(whole), len(corners)))
    done, total = 0, int(there.sum()) * len(corners)
    for case, number in np.argwhere(there):
        for first in range(0, len(corners), config.batch):
            some = corners[first : first + config.batch]
            left = _logits(network, _covered(batch, case, ROLES[number], some, config))
            drops[number, case, first : first + len(some)] = whole[case] - left
            done += len(some)
            if done < total:
                yield OcclusionStep(step=done, of=total)
    spread = [_spread(*axis) for axis in zip(size, config.cube, starts, strict=True)]
    shape = (len(whole), *map(len, starts))
    maps = {
        role: np.einsum("zi,yj,xk,bijk->bzyx", *spread, drops[n].reshape(shape))
        for n, role in enumerate(ROLES)
        if there[:, n].any()
    }
    yield OcclusionStep(step=total, of=total, maps=maps)


def _starts(size: int, cube: int, stride: int) -> list[int]:
    """Return where cubes begin along an axis; the last is cut where the grid ends."""
    ends = min(max(size - cube, 0) + stride, size)
    return list(range(0, ends, stride))


def _spread(
    size: int, cube: int, starts: list[int]
) -> Float[np.ndarray, "size positions"]:
    """Return the share that each cube has in each voxel along an axis."""
    voxel, start = np.arange(size)[:, None], np.array(starts)[None]
    covers = (voxel >= start) & (voxel < start + cube)
    away = np.abs(voxel - (start + (cube - 1) / 2))
    nearest = away == away.min(axis=1, keepdims=True)
    weights = np.where(covers.any(axis=1, keepdims=True), covers, nearest).astype(float)
    return weights / weights.sum(axis=1, keepdims=True)


def _covered(
    batch: CaseBatch,
    case: int,
    role: str,
    corners: list[Corner],
    config: OcclusionConfig,
) -> CaseBatch:
    """Return a case again and again, one of its volumes covered in another place."""
    many = batch.repeated(case, len(corners))
    mri = many.mri.clone()
    sequence, time = AXES[role]
    volumes = mri[:, sequence, time, 0]
    fill = volumes[0].mean() if config.fill == "mean" else 0.0
    for volume, corner in zip(volumes, corners, strict=True):
        z, y, x = (
            slice(start, start + side)
            for start, side in zip(corner, config.cube, strict=True)
        )
        volume[z, y, x] = fill
    return replace(many, mri=mri)


def _logits(network: nn.Module, batch: CaseBatch) -> Float[np.ndarray, "B"]:
    with evaluating(network), torch.no_grad():
        return network(batch).logit.double().cpu().numpy()
