"""Heat maps that need no model: what a map has to beat.

They lie on the same cells as the network's own and are measured alike. A lesion that
enhances is bright, most lesions lie near the middle, and what the treatment changed is
different before and after: none of this takes a network to see.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from napari_harm3.cohort.case import BEFORE, ROLES
from napari_harm3.explain.cells import (
    CellMaps,
    Centres,
    boxes_of,
    equal_shares,
    on_cells,
)

NAMES = ("uniform", "centre", "intensity", "difference")

WIDTH = 0.25
"""Standard deviation of the centre's Gaussian, as a share of the grid's edge."""


def baseline_maps(
    mri: Float[Tensor, "S T 1 D H W"],
    available: Bool[Tensor, "S T"],
    cells: Sequence[int],
    centres: Centres | None = None,
) -> dict[str, CellMaps]:
    """Return each baseline's maps by role, none below zero.

    Parameters
    ----------
    mri, available
        One case as the network sees it: a row of ``CaseBatch.mri`` and ``mri_avail``.
    cells
        Of the network's maps along z, y, x.
    centres
        Where they lie; equal shares of the grid if that is not known.

    Returns
    -------
    :
        ``uniform``, ``centre``, ``intensity`` (above the volume's least) and
        ``difference`` (post minus pre, its amount; only of sequences with both, and of
        use only where the two are aligned).
    """
    volumes = mri.flatten(0, 1)[:, 0].float().cpu().numpy()
    present = dict(zip(ROLES, available.flatten().tolist(), strict=True))
    by_role = {
        role: volumes[number] for number, role in enumerate(ROLES) if present[role]
    }
    size = volumes.shape[1:]
    centres = centres or equal_shares(cells, size)
    centre = _centre(cells, centres, size)
    boxes = boxes_of(cells, centres, size)
    maps: dict[str, CellMaps] = {
        "uniform": {role: np.ones_like(centre) for role in by_role},
        "centre": {role: centre.copy() for role in by_role},
        "intensity": {
            role: on_cells(volume - volume.min(), boxes)
            for role, volume in by_role.items()
        },
        "difference": {},
    }
    for post, pre in BEFORE.items():
        if {pre, post} <= by_role.keys():
            change = on_cells(np.abs(by_role[post] - by_role[pre]), boxes)
            maps["difference"] |= {pre: change, post: change.copy()}
    return maps


def _centre(
    cells: Sequence[int], centres: Centres, size: Sequence[int]
) -> Float[np.ndarray, "d h w"]:
    total = np.zeros(tuple(cells))
    for axis, count in enumerate(cells):
        voxel = centres.start[axis] + centres.step[axis] * np.arange(count)
        place = (voxel + 0.5) / size[axis] - 0.5
        shape = [-1 if other == axis else 1 for other in range(3)]
        total = total + np.square(place / WIDTH).reshape(shape)
    return np.exp(-total / 2)
