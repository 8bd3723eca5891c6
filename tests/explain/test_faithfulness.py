"""A map of the cause beats random blobs; a map of something else does not."""

import numpy as np
import pytest
import torch
from torch import nn

from model_cases import TINY_VOLUME, case_batch, tiny_config
from napari_harm3.explain.cells import Centres
from napari_harm3.explain.faithfulness import faithfulness_steps
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import Prediction

CELLS = (4, 4, 4)
SIZE = (8, 16, 16)


def faithfulness(*asked, **choices):
    """Return what the last step carries."""
    *_, last = faithfulness_steps(*asked, **choices)
    return last.found


class Cause(nn.Module):
    """The logit is the mean of one corner of one volume."""

    def forward(self, batch):
        return Prediction(logit=batch.mri[:, 1, 0, 0, :4, :8, :8].mean(dim=(1, 2, 3)))


@pytest.fixture
def batch():
    made = case_batch(1, volume_size=SIZE)
    made.mri[0, 1, 0, 0, :4, :8, :8] += 5
    return made


def cause():
    cam = np.zeros(CELLS)
    cam[:2, :2, :2] = 1
    return cam


def test_the_cause_is_faithful_and_falls_and_rises_at_once(batch):
    maps = {"t1_pre": np.zeros(CELLS), "t2_pre": cause()}

    found = faithfulness(Cause(), batch, maps, steps=16, most=1)

    for curves in (found.deletion, found.insertion):
        assert curves.area > 0.3
        assert curves.p <= 1 / 21 + 0.1
        assert curves.random.shape == (20, 17)
    evident = found.deletion.evident
    assert found.share[1] == pytest.approx(8 / 128)
    # The cause fills the first step, after which nothing falls further.
    assert np.ptp(evident[1:]) < 0.05 * abs(evident[0] - evident[1])


def test_the_opposite_corner_is_not_faithful(batch):
    away = np.sqrt((np.indices(CELLS) ** 2).sum(axis=0))

    found = faithfulness(Cause(), batch, {"t2_pre": away})

    assert found.deletion.area < 0
    assert found.insertion.area < 0
    assert found.deletion.p > 0.5


def test_a_map_without_meaning_has_an_area_about_zero(batch):
    rng = np.random.default_rng(0)
    areas = [
        faithfulness(
            Cause(), batch, {"t2_pre": rng.random(CELLS)}, seed=n, blobs=10
        ).deletion.area
        for n in range(30)
    ]
    assert abs(np.mean(areas)) < 4 * np.std(areas) / np.sqrt(30)


def test_curves_begin_and_end_at_the_whole_and_the_empty_case(batch):
    model = Cause()
    maps = {"t2_pre": cause() + np.random.default_rng(0).random(CELLS)}

    found = faithfulness(model, batch, maps, fill=torch.zeros_like, most=1)

    whole = model(batch).logit.item()
    for curves, first, last in (
        (found.deletion, whole, 0),
        (found.insertion, 0, whole),
    ):
        for curve in (curves.evident, *curves.random):
            assert curve[0] == pytest.approx(first, abs=1e-5)
            assert curve[-1] == pytest.approx(last, abs=1e-5)


def test_random_blobs_are_paired_in_volume_and_size(batch):
    """A network that counts what is left in each volume cannot tell them apart."""

    class Count(nn.Module):
        def forward(self, batch):
            left = (batch.mri[:, :, :, 0] != 0).float().mean(dim=(3, 4, 5))
            weights = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
            return Prediction(logit=(left * weights).sum(dim=(1, 2)))

    rng = np.random.default_rng(0)
    maps = {
        role: rng.random(CELLS) * n for n, role in enumerate(("t1_pre", "t2_post"), 1)
    }

    found = faithfulness(Count(), batch, maps, fill=torch.zeros_like)

    for curve in found.deletion.random:
        np.testing.assert_allclose(curve, found.deletion.evident, rtol=1e-4)
    assert found.deletion.p == 1


def test_a_cell_is_taken_out_where_it_looks(batch):
    """Cells of a strided convolution begin on the first voxel, not half a cell in."""

    class Voxels(nn.Module):
        def forward(self, batch):
            return Prediction(logit=batch.mri[:, 1, 0, 0, 0, 0, 2:6].sum(dim=1))

    batch.mri[0, 1, 0, 0] = 1
    strided = Centres(start=(0.0, 0.0, 0.0), step=(2.0, 4.0, 4.0))
    second = np.zeros(CELLS)
    second[0, 0, 1] = 1
    choices = {"centres": strided, "steps": 512, "most": 1, "fill": torch.zeros_like}

    found = faithfulness(Voxels(), batch, {"t2_pre": second}, **choices)

    # The second centre is at voxel 4.
    assert found.deletion.evident[[0, 1]].tolist() == [4, 0]


def test_the_same_seed_gives_the_same_curves(batch):
    maps = {"t2_pre": cause()}
    one, again, other = (
        faithfulness(Cause(), batch, maps, seed=seed).deletion.random
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_flat_maps_say_nothing(batch):
    assert faithfulness(Cause(), batch, {"t1_pre": np.zeros(CELLS)}) is None


def test_a_registered_network_is_left_in_its_mode():
    torch.manual_seed(0)
    model = Harm3(tiny_config(), volume_size=TINY_VOLUME, patch_width=6).train()
    rng = np.random.default_rng(0)
    maps = {"t1_pre": rng.random((2, 2, 2)), "t2_post": rng.random((2, 2, 2))}

    found = faithfulness(model, case_batch(1), maps, blobs=3)

    assert model.training
    assert found.share.tolist() == [n / 16 for n in range(9)]
    assert np.isfinite(found.deletion.random).all()
