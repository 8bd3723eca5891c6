"""Occlusion against plain loops, on networks whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from map_readings import upsampled
from model_cases import case_batch, tiny_config
from napari_harm3.cohort.case import ROLES
from napari_harm3.explain.config import OcclusionConfig
from napari_harm3.explain.gradcam import heat_maps
from napari_harm3.explain.occlusion import occlusion
from napari_harm3.explain.other_maps import occlusion_steps
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import Prediction

GRID = (6, 9, 10)


class Weighed(nn.Module):
    """The logit is a weighted sum of all voxels."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.asked = []

    def forward(self, batch):
        self.asked.append(len(batch.mri))
        return Prediction(logit=(batch.mri * self.weight).flatten(1).sum(dim=1))


def cases(count=1):
    batch = case_batch(count, volume_size=GRID)
    return replace(batch, mri=batch.mri + 2)


def weighed(seed=5):
    rng = torch.Generator().manual_seed(seed)
    return Weighed(torch.randn(2, 2, 1, *GRID, generator=rng)).eval()


def maps_of(network, batch, config):
    *_, last = occlusion(network, batch, config)
    return last.maps


def by_hand(volume, weight, config):
    """Cover, add up and average, voxel by voxel."""
    fill = volume.mean() if config.fill == "mean" else 0.0
    total, times = np.zeros(GRID), np.zeros(GRID)
    cubes = []
    for axis, (size, cube, stride) in enumerate(
        zip(GRID, config.cube, config.stride, strict=True)
    ):
        starts = [0]
        while starts[-1] + cube < size and starts[-1] + stride < size:
            starts.append(starts[-1] + stride)
        cubes.append([(start, min(start + cube, GRID[axis])) for start in starts])
    for z in cubes[0]:
        for y in cubes[1]:
            for x in cubes[2]:
                place = tuple(slice(*one) for one in (z, y, x))
                total[place] += (weight[place] * (volume[place] - fill)).sum()
                times[place] += 1
    return total, times


@pytest.mark.parametrize("fill", ["mean", "zero"])
@pytest.mark.parametrize(
    ("cube", "stride"),
    [
        ((2, 3, 5), (2, 3, 5)),  # side by side
        ((3, 4, 4), (3, 4, 4)),  # the last ones are cut
        ((3, 4, 5), (1, 2, 3)),  # they overlap
        ((9, 9, 99), (1, 2, 3)),  # larger than the grid
    ],
)
def test_agrees_with_plain_loops(fill, cube, stride):
    config = OcclusionConfig(cube=cube, stride=stride, fill=fill, batch=7)
    network, batch = weighed(), cases(2)

    maps = maps_of(network, batch, config)

    for number, role in enumerate(ROLES):
        weight = network.weight[number // 2, number % 2, 0].detach().double().numpy()
        for case in range(2):
            volume = batch.mri[case, number // 2, number % 2, 0].double().numpy()
            total, times = by_hand(volume, weight, config)
            np.testing.assert_allclose(maps[role][case], total / times, atol=1e-4)


def test_a_gap_between_cubes_takes_the_nearest():
    network, batch = weighed(), cases()
    config = OcclusionConfig(cube=(6, 9, 2), stride=(6, 9, 5))

    heat = maps_of(network, batch, config)["t1_pre"][0]

    total, _ = by_hand(
        batch.mri[0, 0, 0, 0].double().numpy(),
        network.weight[0, 0, 0].detach().double().numpy(),
        config,
    )
    first, second = total[0, 0, 0], total[0, 0, 5]
    # Cubes at 0-1 and 5-6: 3 is as far from one as from the other.
    assert first != pytest.approx(second)
    expected = [first] * 3 + [(first + second) / 2] + [second] * 6
    np.testing.assert_allclose(heat[2, 3], expected, atol=1e-4)


@pytest.mark.parametrize("corner", [(0, 0, 0), (4, 6, 8), (2, 3, 4), (0, 6, 0)])
def test_only_the_cube_that_is_the_cause_is_missed(corner):
    weight = torch.zeros(2, 2, 1, *GRID)
    z, y, x = (slice(a, a + b) for a, b in zip(corner, (2, 3, 2), strict=True))
    weight[1, 0, 0, z, y, x] = 1
    config = OcclusionConfig(cube=(2, 3, 2), stride=(2, 3, 2), fill="zero")

    maps = maps_of(Weighed(weight).eval(), cases(), config)

    inside = np.zeros(GRID, bool)
    inside[z, y, x] = True
    assert not any(maps[role].any() for role in ROLES if role != "t2_pre")
    np.testing.assert_array_equal(np.abs(maps["t2_pre"][0]) > 1e-4, inside)


@pytest.mark.parametrize("cube", [(2, 3, 5), (4, 6, 7), (5, 8, 9), (8, 9, 12)])
def test_cells_lie_evenly_on_the_grid_whatever_the_cube(cube):
    weight = torch.zeros(2, 2, 1, *GRID)
    weight[1, 0, 0, -1, -1, -1] = 1
    config = OcclusionConfig(cube=cube, stride=cube, fill="zero")

    *_, (_, maps) = occlusion_steps(Weighed(weight).eval(), cases(), config)

    array, centres = maps["t2_pre"].array, maps["t2_pre"].centres
    start, step = np.array(centres.start), np.array(centres.step)
    far = start + step * (np.array(array.shape) - 1)
    np.testing.assert_allclose(start + far, np.array(GRID) - 1)
    peak = start + step * np.unravel_index(array.argmax(), array.shape)
    assert (np.abs(peak - np.array(GRID) + 1) <= step / 2).all()


def test_absent_volumes_are_not_asked_about():
    batch = cases(2)
    batch.mri_avail[:, 0, 1] = False
    batch.mri_avail[1, 1, 1] = False
    config = OcclusionConfig(cube=(6, 9, 5), stride=(6, 9, 5))
    network = weighed()

    *_, last = occlusion(network, batch, config)

    assert last.of == 5 * 2
    assert sum(network.asked) == 2 + last.of
    assert set(last.maps) == {"t1_pre", "t2_pre", "t2_post"}
    assert last.maps["t2_post"][0].any()
    assert not last.maps["t2_post"][1].any()


def test_the_network_sees_batches_and_the_maps_do_not_depend_on_them():
    network = weighed()
    many = OcclusionConfig(cube=(3, 4, 5), stride=(2, 2, 2), batch=16)

    maps = maps_of(network, cases(), many)

    assert max(network.asked) == 16
    one = maps_of(network, cases(), replace(many, batch=1))
    for role in ROLES:
        np.testing.assert_allclose(maps[role], one[role], atol=1e-4)


def test_progress_is_told_and_closing_stops():
    network = weighed().train()
    before = cases().mri.clone()
    batch = cases()
    config = OcclusionConfig(cube=(2, 3, 5), stride=(2, 3, 5), batch=4)

    steps = occlusion(network, batch, config)
    first, second = next(steps), next(steps)
    assert network.training  # between two steps as well
    steps.close()

    assert (first.step, second.step, first.of) == (4, 8, 4 * 18)
    assert first.maps is None
    assert network.asked == [1, 4, 4]
    assert network.weight.grad is None
    assert torch.equal(batch.mri, before)
    *_, last = occlusion(network, batch, config)
    assert last.step == last.of == 72


def test_a_case_without_volumes_has_no_maps():
    batch = cases()
    batch.mri_avail[:] = False

    steps = list(occlusion(weighed(), batch, OcclusionConfig()))

    assert [(step.step, step.of, step.maps) for step in steps] == [(0, 0, {})]


def test_the_whole_network_is_asked_its_vaes_mean_and_the_bag_stays():
    torch.manual_seed(0)
    network = Harm3(tiny_config(), volume_size=(4, 16, 16), patch_width=6).train()
    batch = case_batch(2)
    config = OcclusionConfig(cube=(2, 8, 8), stride=(2, 8, 8), batch=3)

    maps = maps_of(network, batch, config)

    covered = batch.mri.clone()
    covered[1, 0, 1, 0, 2:, :8, 8:] = covered[1, 0, 1, 0].mean()
    network.eval()
    with torch.no_grad():
        drop = network(batch).logit - network(replace(batch, mri=covered)).logit
    np.testing.assert_allclose(
        maps["t1_post"][1, 2:, :8, 8:], float(drop[1]), atol=1e-6
    )
    assert float(drop[0]) == 0


def test_a_heat_map_of_a_linear_network_is_confirmed():
    grid = (8, 12, 16)
    weight = torch.zeros(2, 2, 1, *grid)
    weight[0, 1, 0, 4:, 4:8, 8:12] = 1
    mri = torch.zeros(1, 2, 2, 1, *grid)
    mri[0, 0, 1, 0, 4:, 4:8, 8:12] = 5

    class Cells(Weighed):
        def forward(self, batch):
            maps = nn.functional.avg_pool3d((batch.mri * self.weight).flatten(1, 3), 4)
            by_role = {role: maps[:, n : n + 1] for n, role in enumerate(ROLES)}
            logit = sum(one.flatten(1).sum(dim=1) for one in by_role.values())
            return Prediction(logit=logit, feature_maps=by_role)

    network = Cells(weight)
    batch = replace(case_batch(1, volume_size=grid), mri=mri)

    gold = maps_of(network, batch, OcclusionConfig(cube=(4, 4, 4), stride=(4, 4, 4)))

    _, maps = heat_maps(network, batch)
    heat = upsampled(maps["t1_post"][0], grid)
    assert gold["t1_post"][0].flat[heat.argmax()] == gold["t1_post"].max() > 0
