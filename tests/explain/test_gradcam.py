"""Grad-CAM against a plain reading, and on a network whose cause is known."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_harm3.explain.gradcam import grad_cam, heat_maps, upsampled
from napari_harm3.models.interface import CaseBatch, Prediction

ROLES = ("t1_pre", "t1_post", "t2_pre", "t2_post")


def batch_of(mri, available=None):
    count = len(mri)
    return CaseBatch(
        mri=mri,
        mri_avail=torch.ones(count, 2, 2, dtype=torch.bool)
        if available is None
        else available,
        wsi=torch.zeros(count, 1, 2),
        wsi_mask=torch.ones(count, 1, dtype=torch.bool),
        wsi_coords=torch.zeros(count, 1, 2),
        wsi_avail=torch.ones(count, dtype=torch.bool),
        label=torch.zeros(count),
        aligned=torch.zeros(count, dtype=torch.bool),
    )


class OneCause(nn.Module):
    """Averages 4 x 4 x 4 cubes; the logit is one cell of the first volume."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.dropout = nn.Dropout(0.5)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch):
        volumes = batch.mri.flatten(1, 2)
        maps = nn.functional.avg_pool3d(volumes.flatten(0, 1), 4)
        maps = maps.unflatten(0, volumes.shape[:2]) * self.weight
        by_role = {role: maps[:, n] for n, role in enumerate(ROLES)}
        z, y, x = self.cell
        logit = self.dropout(by_role["t1_pre"][:, 0, z, y, x])
        return Prediction(logit=logit, feature_maps=by_role)


def test_agrees_with_the_papers_formula():
    torch.manual_seed(0)
    activation = torch.randn(2, 5, 3, 4, 6, dtype=torch.float64)
    gradient = torch.randn(2, 5, 3, 4, 6, dtype=torch.float64)

    cam = grad_cam(activation, gradient)

    a, g = activation.numpy(), gradient.numpy()
    for case in range(2):
        total = sum(g[case, c].mean() * a[case, c] for c in range(5))
        np.testing.assert_allclose(cam[case], np.maximum(total, 0), atol=1e-12)


@pytest.mark.parametrize("cell", [(0, 0, 0), (2, 1, 3), (3, 4, 5), (0, 4, 0)])
def test_the_peak_lies_on_the_cause(cell):
    z, y, x = cell
    mri = torch.zeros(1, 2, 2, 1, 16, 20, 24)
    mri[0, 0, 0, 0, 4 * z : 4 * z + 4, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 5

    _, maps = heat_maps(OneCause(cell), batch_of(mri))

    heat = upsampled(maps["t1_pre"][0], (16, 20, 24))
    peak = np.argwhere(heat == heat.max()).mean(axis=0)
    assert (np.abs(peak - (np.array(cell) * 4 + 1.5)) <= 2).all()
    assert not maps["t2_post"].any()


def test_several_cases_are_explained_as_each_alone():
    torch.manual_seed(1)
    mri, network = torch.randn(3, 2, 2, 1, 16, 16, 16), OneCause((1, 1, 1))

    _, together = heat_maps(network, batch_of(mri))

    for case in range(3):
        _, alone = heat_maps(network, batch_of(mri[case : case + 1]))
        np.testing.assert_allclose(together["t1_pre"][case], alone["t1_pre"][0])


def test_the_network_is_left_as_it_was():
    network = OneCause((0, 0, 0)).train()

    heat_maps(network, batch_of(torch.randn(2, 2, 2, 1, 8, 8, 8)))

    assert network.training
    assert network.weight.grad is None
    assert network.weight.requires_grad


def test_a_volume_that_no_case_has_gets_no_map():
    available = torch.ones(1, 2, 2, dtype=torch.bool)
    available[0, 1, 1] = False
    _, maps = heat_maps(
        OneCause((0, 0, 0)), batch_of(torch.randn(1, 2, 2, 1, 8, 8, 8), available)
    )
    assert set(maps) == {"t1_pre", "t1_post", "t2_pre"}


def test_upsampling_is_linear_between_the_centres_of_cells():
    coarse = np.arange(4.0)[:, None, None] * np.ones((4, 2, 2))

    fine = upsampled(coarse, (16, 4, 4))

    centres = (np.arange(16) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(fine[:, 0, 0], np.clip(centres, 0, 3))
