"""C3D: the size of the paper's network, on a grid of ours."""

import pytest
import torch

from model_cases import case_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.c3d import C3d
from napari_harm3.models.baselines.volume_config import SMALL_C3D, C3dConfig


def test_the_convolutions_have_the_size_of_the_papers() -> None:
    with torch.device("meta"):
        network = C3d(C3dConfig())

    kernels = [weight.numel() for weight in network.parameters() if weight.ndim == 5]

    assert len(kernels) == 8
    assert sum(kernels) / 1e6 == pytest.approx(27.65, rel=0.01)


@pytest.mark.parametrize(
    ("stride", "volume", "cells"),
    [
        ((8, 16, 16), (32, 128, 128), (4, 8, 8)),
        ((4, 8, 8), (12, 32, 32), (3, 4, 4)),
        ((1, 2, 2), (4, 16, 12), (4, 8, 6)),
        ((4, 8, 16), (13, 33, 33), (4, 5, 3)),
    ],
)
def test_pools_stop_at_the_output_stride(stride, volume, cells) -> None:
    with torch.device("meta"):
        network = C3d(C3dConfig(base_channels=2, output_stride=stride))
        maps = network.features(torch.empty(1, 4, *volume))

    assert maps.shape == (1, 16, *cells)


def test_the_four_volumes_lie_in_one_map() -> None:
    maps = C3d(SMALL_C3D)(case_batch(2)).feature_maps

    assert tuple(maps) == ROLES
    assert all(one is maps["t1_pre"] for one in maps.values())
