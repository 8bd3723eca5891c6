"""Heat maps that need no model: what a map has to beat.

They lie on the same cells as the network's own and are measured alike. A lesion that
enhances is bright, most lesions lie near the middle, and what the treatment changed is
different before and after: none of this takes a network to see.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from napari_harm3.cohort.case import ROLES, TIMES

NAMES = ("uniform", "centre", "intensity", "difference")

WIDTH = 0.25
"""Standard deviation of the centre's Gaussian, as a share of the grid's edge."""

Maps = dict[str, Float[np.ndarray, "d h w"]]


def baseline_maps(
    mri: Float[Tensor, "S T 1 D H W"],
    available: Bool[Tensor, "S T"],
    cells: tuple[int, int, int],
) -> dict[str, Maps]:
    """Return each baseline's maps by role, none below zero.

    Parameters
    ----------
    mri, available
        One case as the network sees it: a row of ``CaseBatch.mri`` and ``mri_avail``.
    cells
        Of the network's maps along z, y, x.

    Returns
    -------
    :
        ``uniform``, ``centre``, ``intensity`` (above the volume's least) and
        ``difference`` (post minus pre, its amount; only of sequences with both, and of
        use only where the two are aligned).
    """
    volumes = mri.flatten(0, 1)[:, 0].float().cpu()
    present = dict(zip(ROLES, available.flatten().tolist(), strict=True))
    by_role = {
        role: volumes[number] for number, role in enumerate(ROLES) if present[role]
    }
    centre = _centre(cells)
    maps: dict[str, Maps] = {
        "uniform": {role: np.ones_like(centre) for role in by_role},
        "centre": {role: centre.copy() for role in by_role},
        "intensity": {
            role: _on_cells(volume - volume.min(), cells)
            for role, volume in by_role.items()
        },
        "difference": {},
    }
    for role in by_role:
        sequence = role.split("_")[0]
        both = [by_role.get(f"{sequence}_{time}") for time in TIMES]
        pre, post = both
        if pre is not None and post is not None:
            maps["difference"][role] = _on_cells((post - pre).abs(), cells)
    return maps


def _on_cells(
    volume: Float[Tensor, "D H W"], cells: tuple[int, int, int]
) -> Float[np.ndarray, "d h w"]:
    return np.asarray(adaptive_avg_pool3d(volume[None, None], cells)[0, 0])


def _centre(cells: tuple[int, int, int]) -> Float[np.ndarray, "d h w"]:
    total = torch.zeros(cells)
    for axis, size in enumerate(cells):
        place = (torch.arange(size) + 0.5) / size - 0.5
        shape = [-1 if other == axis else 1 for other in range(3)]
        total = total + (place / WIDTH).square().reshape(shape)
    return np.asarray((-total / 2).exp())
