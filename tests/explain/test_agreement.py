"""Agreement stands between chance and ceiling, and says when it does not apply."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mri_grids import oriented
from napari_harm3.explain.agreement import (
    LESS_IS_BETTER,
    MEASURES,
    Yardstick,
    agreement,
)
from napari_harm3.explain.ceiling import best_maps, tents
from napari_harm3.explain.cells import cell_grid, drawn
from napari_harm3.explain.cross_attention import mri_to_patches, patch_to_mri
from napari_harm3.explain.gone_lesions import OldPlace, carried_over, magnitude
from napari_harm3.explain.measures import energy
from napari_harm3.explain.ranking import ranking
from napari_harm3.mri.resampling import to_native
from napari_harm3.mri.volume import Geometry

OWN = [name for name in MEASURES if not name.endswith("_chosen")]
"""What is measured of a map without other cases."""

NATIVE = Geometry(shape=(40, 40, 20), affine=np.diag([1.0, 1.0, 2.0, 1.0]))


def cells(step, shift=0.0):
    """Return cells that divide the native field of view evenly, z, y, x."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, spacing) in enumerate(((2, 2.0), (1, 1.0), (0, 1.0))):
        affine[world, axis] = spacing * step
        affine[world, 3] = spacing * (step - 1) / 2 + shift
    return Geometry(shape=(20 // step, 40 // step, 40 // step), affine=affine)


@pytest.fixture
def lesion():
    mask = np.zeros(NATIVE.shape, np.uint8)
    mask[10:18, 12:20, 6:10] = 1
    return mask


def test_the_annotation_itself_as_a_map_agrees_wholly(lesion):
    found = agreement(lesion.astype(np.float32), lesion, NATIVE, cells(1))

    assert [name for name in MEASURES if name in found] == OWN
    for name in set(OWN) - {*LESS_IS_BETTER, "energy_gain"}:
        assert found[name]["value"] == pytest.approx(1, abs=1e-6)
        assert found[name]["ceiling"] == pytest.approx(1, abs=1e-5)
        assert found["normalised"][name] == pytest.approx(1, abs=1e-4)
    for name in LESS_IS_BETTER:
        assert found[name]["value"] == pytest.approx(0, abs=1e-6)
        assert found["normalised"][name] == pytest.approx(1, abs=1e-4)
    assert found["energy_gain"]["value"] == pytest.approx(1 / lesion.mean())
    assert found["lesion_ml"] == pytest.approx(8 * 8 * 4 * 2 / 1000)


def test_a_map_that_says_nothing_reaches_chance_in_every_measure(lesion):
    flat = np.ones(NATIVE.shape, np.float32)

    found = agreement(flat, lesion, NATIVE, cells(4))

    for name in OWN:
        assert found[name]["value"] == pytest.approx(found[name]["chance"])
        assert found["normalised"][name] == pytest.approx(0, abs=1e-9)
    share = lesion.mean()
    assert found["energy"]["chance"] == pytest.approx(share)
    assert found["pointing_game"]["chance"] == pytest.approx(share)
    assert found["ap"]["chance"] == pytest.approx(share)
    assert found["auc"]["chance"] == 0.5
    assert found["dice"]["chance"] == pytest.approx(2 * share / (1 + share))


def test_chance_is_what_random_peaks_reach(lesion):
    rng = np.random.default_rng(0)
    yardstick = Yardstick(lesion, NATIVE, cells(4))
    found = []
    for _ in range(300):
        heat = np.zeros(NATIVE.shape, np.float32)
        heat[tuple(rng.integers(0, NATIVE.shape))] = 1
        found.append(yardstick.measure(heat))

    for name in ("pointing_game_half_cell", "peak_distance_mm"):
        values = [one[name]["value"] for one in found]
        error = 4 * np.std(values) / np.sqrt(len(values))
        assert np.mean(values) == pytest.approx(found[0][name]["chance"], abs=error)


def test_the_peak_counts_within_half_a_cell(lesion):
    yardstick = Yardstick(lesion, NATIVE, cells(4))
    for beside, hit in ((1, 1), (2, 1), (3, 0)):
        heat = np.zeros(NATIVE.shape, np.float32)
        heat[17 + beside, 15, 8] = 1

        found = yardstick.measure(heat)

        assert found["pointing_game"]["value"] == 0
        assert found["pointing_game_half_cell"]["value"] == hit
        assert found["peak_distance_mm"]["value"] == pytest.approx(beside)


def test_coarse_cells_lower_the_ceiling(lesion):
    flat = np.ones(NATIVE.shape, np.float32)
    fine, coarse = (agreement(flat, lesion, NATIVE, cells(step)) for step in (2, 10))
    for name in ("dice", "energy", "auc", "ap"):
        assert coarse[name]["ceiling"] < fine[name]["ceiling"]
        assert coarse[name]["chance"] < coarse[name]["ceiling"]


@pytest.mark.parametrize("step", [4, 5, 10])
def test_no_map_of_the_cells_has_more_energy_than_the_ceiling(lesion, step):
    rng = np.random.default_rng(step)
    grid, flat = cells(step), np.ones(NATIVE.shape, np.float32)
    ceiling = agreement(flat, lesion, NATIVE, grid)["energy"]
    reached = []
    for _ in range(40):
        coarse = (rng.random(grid.shape) ** rng.choice([1, 9, 99])).astype(np.float32)
        heat = to_native(coarse, grid.affine, NATIVE)
        reached.append(energy(heat, lesion > 0))
    for cell in np.ndindex(grid.shape):
        one = np.zeros(grid.shape, np.float32)
        one[cell] = 1
        reached.append(energy(to_native(one, grid.affine, NATIVE), lesion > 0))

    assert max(reached) == pytest.approx(ceiling["ceiling"], rel=1e-5)


def test_a_map_can_point_to_a_lesion_that_covers_the_centre_of_a_cell():
    grid = cells(10)
    covers, between = np.zeros((2, *NATIVE.shape), np.uint8)
    covers[13:17, 13:17, 14:] = 1  # a centre is at 14.5, 14.5, 14.5
    between[9:11, 14:16, 14:] = 1  # half-way to the next
    flat = np.ones(NATIVE.shape, np.float32)

    found = agreement(flat, covers, NATIVE, grid)
    none = agreement(flat, between, NATIVE, grid)

    assert found["pointing_game"]["ceiling"] == 1
    for name in MEASURES[:4]:
        assert none[name]["ceiling"] >= none[name]["chance"]
    # Two equal cells are level from the volume's edge to the second centre.
    assert none["pointing_game"]["ceiling"] == pytest.approx(2 / 15)


def test_on_a_tilted_grid_cells_together_point_between_their_centres():
    turn = Rotation.from_euler("xyz", (8, 4, -8), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([3.0, 3.0, 5.0])
    affine[:3, 3] = -turn @ [72, 72, 60]
    native = Geometry(shape=(48, 48, 24), affine=affine)
    model = np.array([[0, 0, 6, -93], [0, 6, 0, -93], [8, 0, 0, -44], [0, 0, 0, 1.0]])
    grid = cell_grid((3, 4, 4), (12, 32, 32), model)
    apart = np.indices(native.shape) - np.reshape([18, 14, 6], (3, 1, 1, 1))
    lesion = ((apart**2).sum(axis=0) <= 9).astype(np.uint8)
    cam = np.zeros((3, 4, 4), np.float32)
    cam[0, 0, 0], cam[0, 0, 2], cam[0, 1, 1] = 0.91, 0.9, 0.97
    cam[0, 1, 2], cam[1, 0, 0], cam[1, 0, 1] = 0.79, 0.89, 0.82

    found = agreement(drawn(cam, grid, native), lesion, native, grid)
    # What the ceiling is must not depend on the map that is measured.
    other = agreement(drawn(cam[::-1], grid, native), lesion, native, grid)

    assert (found["pointing_game"]["value"], other["pointing_game"]["value"]) == (1, 0)
    for name, best in (("pointing_game", 1), ("peak_distance_mm", 0)):
        assert found[name]["ceiling"] == other[name]["ceiling"] == best


def test_climbing_finds_no_map_with_more_dice_than_the_ceiling(lesion):
    rng, grid = np.random.default_rng(0), cells(5)
    mask = lesion > 0
    around = tents(mask, np.ones_like(mask), NATIVE, grid)
    fitted = max(
        ranking(one.ravel(), mask.ravel()).best_dice
        for one in best_maps(mask, around, NATIVE, grid)
    )
    cell, best = around.shares.copy(), 0.0
    touching = np.argwhere(cell > 0)
    for _ in range(300):
        tried = cell.copy()
        where = tuple(touching[rng.integers(len(touching))])
        tried[where] = max(0, tried[where] * rng.uniform(0.3, 2))
        heat = to_native(tried, grid.affine, NATIVE)
        reached = ranking(heat.ravel(), mask.ravel()).best_dice
        if reached >= best:
            cell, best = tried, reached

    assert best > 0.7
    assert fitted >= best - 0.01


def test_in_a_slab_between_all_centres_a_lesion_is_measured_as_well():
    """No map passes its ceiling there, nor is any figure undefined."""
    slab = Geometry(shape=(40, 40, 5), affine=NATIVE.affine.copy())
    slab.affine[2, 3] = 14  # the centres lie at 9 and 29 mm
    mask = np.zeros(slab.shape, np.uint8)
    mask[11:14, 10:12, 2] = 1
    rng, grid = np.random.default_rng(0), cells(10)

    for _ in range(10):
        heat = to_native(rng.random(grid.shape), grid.affine, slab)
        found = agreement(heat, mask, slab, grid)
        assert np.isfinite([found[name]["ceiling"] for name in OWN]).all()
        scores = [one for one in found["normalised"].values() if one is not None]
        assert max(scores) <= 1 + 1e-9


def test_nothing_outside_the_field_of_view_counts(lesion):
    """The cells see the far half; what lies in the near one changes nothing."""
    grid = cells(4)
    half = Geometry(shape=(5, 10, 5), affine=grid.affine.copy())
    half.affine[:3, 3] += grid.affine[:3, 2] * 5
    lesion[22:30, 12:20, 6:10] = 1
    rng = np.random.default_rng(0)
    heat = to_native(rng.random(half.shape).astype(np.float32), half.affine, NATIVE)
    louder = heat.copy()
    louder[:20] = 7
    within = lesion.copy()
    within[:20] = 0

    found, other = (
        agreement(one, mask, NATIVE, half)
        for one, mask in ((heat, within), (louder, lesion))
    )

    assert found["outside"] == 0
    assert other["outside"] == pytest.approx(0.5)
    for name in MEASURES:
        assert found.get(name) == other.get(name)
    assert found["energy"]["chance"] == pytest.approx(2 * lesion.mean() / 2)


@pytest.mark.parametrize("tilt", [(0, 0, 0), (0, 0, 25)])
def test_the_figures_do_not_depend_on_the_order_of_the_axes(tilt):
    """The same anatomy stored along other axes gives the same figures."""
    rng = np.random.default_rng(0)
    one = oriented((0, 1, 2), (1, 1, 1), (24, 20, 16), (1.0, 1.5, 2.0), tilt)
    heat = rng.random(one.shape).astype(np.float32)
    mask = np.zeros(one.shape, np.uint8)
    mask[5:11, 8:14, 6:9] = 1
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = one.affine[:3, 3] + [-6, -6, 0]
    grid = Geometry(shape=(8, 8, 6), affine=affine)
    order = (2, 0, 1)
    turned = one.affine.copy()
    turned[:, :3] = one.affine[:, list(order)]
    other = Geometry(shape=tuple(one.shape[axis] for axis in order), affine=turned)

    found = agreement(heat, mask, one, grid)
    again = agreement(heat.transpose(order), mask.transpose(order), other, grid)

    for name in MEASURES:
        if name in found:
            assert again[name] == pytest.approx(found[name], rel=0.01, abs=1e-3)


def test_each_label_has_its_own_figures_beside_the_union(lesion):
    lesion[30:34, 30:34, 14:16] = 2
    heat = (lesion == 2).astype(np.float32)

    found = agreement(heat, lesion, NATIVE, cells(2))

    assert found["labels"]["nodes"]["energy"]["value"] == 1
    assert found["labels"]["primary"]["energy"]["value"] == 0
    assert found["energy"]["value"] == 1
    assert found["lesion_ml"] == pytest.approx(
        found["labels"]["nodes"]["lesion_ml"] + found["labels"]["primary"]["lesion_ml"]
    )


def test_a_single_label_is_the_union_and_the_other_says_that_it_is_absent(lesion):
    found = agreement(lesion.astype(np.float32), lesion, NATIVE, cells(4))
    primary = found["labels"]["primary"]
    assert primary == {k: v for k, v in found.items() if k != "labels"}
    assert set(found["labels"]["nodes"]) == {"not_applicable"}


def test_what_cannot_be_compared_says_why(lesion):
    heat = lesion.astype(np.float32)
    grid = cells(2)
    assert agreement(heat, None, NATIVE, grid) == {"not_applicable": "not annotated"}
    assert (
        "visible lesion" in agreement(heat, lesion * 0, NATIVE, grid)["not_applicable"]
    )
    assert "evidence" in agreement(heat * 0, lesion, NATIVE, grid)["not_applicable"]
    far = cells(2, shift=500.0)
    assert "field of view" in agreement(heat, lesion, NATIVE, far)["not_applicable"]
    full = np.ones_like(lesion)
    assert "fills" in agreement(heat, full, NATIVE, grid)["not_applicable"]


def test_a_lesion_smaller_than_the_voxels_looked_at_has_a_ceiling():
    native = Geometry(shape=(80, 80, 40), affine=np.eye(4))
    mask = np.zeros(native.shape, np.uint8)
    mask[41, 41, 21] = 1
    grid = Geometry(shape=(2, 4, 4), affine=np.zeros((4, 4)))
    grid.affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [20, 20, 20, 1]
    grid.affine[:3, 3] = 9.5

    found = agreement(np.ones(native.shape, np.float32), mask, native, grid)

    assert 0 < found["energy"]["chance"] < found["energy"]["ceiling"] < 0.001


def test_a_map_over_a_lesion_that_has_gone_is_measured_at_its_old_place(lesion):
    grid, old = cells(4), lesion > 0
    still = to_native(
        tents(old, np.ones_like(old), NATIVE, grid).shares, grid.affine, NATIVE
    )
    before = magnitude(2 * still, NATIVE, grid)
    elsewhere = np.zeros(NATIVE.shape, np.float32)
    elsewhere[30:] = 1

    place = OldPlace(old, NATIVE, grid)
    found = place.measure(still, magnitude_before=before)
    away = place.measure(elsewhere)
    unknown = OldPlace(None, NATIVE, grid).measure(still)
    silent = place.measure(still * 0)

    entry = found["false_energy"]
    assert entry["chance"] < entry["value"] <= entry["ceiling"] + 1e-6
    assert found["magnitude"]["relative_to_pre"] == pytest.approx(0.5)
    assert away["false_energy"]["value"] == 0
    assert away["magnitude"]["relative_to_pre"] is None
    assert "not known" in unknown["false_energy"]["not_applicable"]
    assert "evidence" in silent["false_energy"]["not_applicable"]
    assert silent["magnitude"]["value"] == 0


def test_a_lesion_is_carried_over_to_the_later_volume(lesion):
    after = Geometry(shape=(20, 40, 20), affine=np.diag([2.0, 1.0, 2.0, 1.0]))
    after.affine[0, 3] = 0.5 - 6

    old = carried_over(lesion, NATIVE, after)

    assert old[8:12, 12:20, 6:10].all()
    assert old.sum() == 4 * 8 * 4


def test_the_link_between_slide_and_mri_by_hand():
    pooling = np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    cross = np.array([[0.9, 0.1], [0.3, 0.7]])

    np.testing.assert_allclose(patch_to_mri(pooling, cross, 2), cross[1])
    np.testing.assert_allclose(
        patch_to_mri(pooling, cross, 1), (0.5 * cross[0] + 0.2 * cross[1]) / 0.7
    )
    np.testing.assert_allclose(
        mri_to_patches(pooling, cross, 0), (0.9 * pooling[0] + 0.3 * pooling[1]) / 1.2
    )
