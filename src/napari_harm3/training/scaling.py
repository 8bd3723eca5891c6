"""Fit the scales that a network keeps, on its training part."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from napari_harm3.data.dataset import CaseItem
from napari_harm3.models.layers.patch_scale import ClinicalScale, PatchScale


def fit_scales(network: nn.Module, cases: Sequence[CaseItem]) -> None:
    """Fit the scales of patch features and of clinical columns."""
    bags = [item.features for item in cases if item.features is not None]
    rows = [item.clinical[None] for item in cases if item.clinical is not None]
    for module in network.modules():
        values = rows if isinstance(module, ClinicalScale) else bags
        if isinstance(module, PatchScale) and values:
            module.fit(*mean_and_spread(values))


def mean_and_spread(
    parts: Sequence[Float[np.ndarray, "n D"]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the columns' mean and standard deviation over what is known of them."""
    count = sum((~np.isnan(part)).sum(axis=0) for part in parts)
    count = np.maximum(count, 1)
    centre = sum(np.nansum(part, axis=0, dtype=np.float64) for part in parts) / count
    squares = sum(np.nansum((part - centre) ** 2, axis=0) for part in parts)
    return torch.from_numpy(centre), torch.from_numpy(np.sqrt(squares / count))
