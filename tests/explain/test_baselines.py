"""Maps without a model, on the network's cells."""

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.explain.baselines import NAMES, baseline_maps
from napari_harm3.explain.cells import cell_grid
from napari_harm3.explain.other_maps import baselines


@pytest.fixture
def maps():
    mri = torch.full((2, 2, 1, 8, 12, 16), -1.0)
    mri[0, 0, 0, 2:4, 4:8, 4:8] = 3
    mri[0, 1, 0, 2:4, 4:8, 4:8] = 1
    available = torch.tensor([[True, True], [True, False]])
    return baseline_maps(mri, available, (4, 3, 4))


def test_each_has_a_map_of_each_volume_that_is_there(maps):
    assert tuple(maps) == NAMES
    for name in ("uniform", "centre", "intensity"):
        assert set(maps[name]) == {"t1_pre", "t1_post", "t2_pre"}
        assert all(one.shape == (4, 3, 4) for one in maps[name].values())
    assert set(maps["difference"]) == {"t1_pre", "t1_post"}


def test_intensity_and_difference_are_means_over_cells(maps):
    expected = np.zeros((4, 3, 4))
    expected[1, 1, 1] = 4
    np.testing.assert_allclose(maps["intensity"]["t1_pre"], expected)
    np.testing.assert_allclose(maps["difference"]["t1_post"], expected / 2)
    assert not maps["intensity"]["t2_pre"].any()


def test_the_centre_falls_off_alike_on_all_sides(maps):
    centre = maps["centre"]["t1_pre"]
    for axis in range(3):
        np.testing.assert_allclose(centre, np.flip(centre, axis), rtol=1e-6)
    assert centre[1, 1, 1] == centre.max()
    assert centre[0, 0, 0] == centre.min() > 0
    assert len(np.unique(maps["uniform"]["t1_pre"])) == 1


def test_they_lie_where_the_models_cells_do_and_say_if_that_is_assumed():
    batch = case_batch(1)
    cells = cell_grid((2, 3, 4), batch.mri.shape[-3:], np.eye(4))

    found = baselines(batch, cells)

    assert cells.centres.assumed
    for maps in found.values():
        assert {one.centres for one in maps.values()} == {cells.centres}
