"""Agreement stands between chance and ceiling, and says when it does not apply."""

import numpy as np
import pytest

from napari_harm3.explain.agreement import agreement, dice, energy, pointing_game
from napari_harm3.explain.cross_attention import mri_to_patches, patch_to_mri
from napari_harm3.mri.volume import Geometry

NATIVE = Geometry(shape=(40, 40, 20), affine=np.diag([1.0, 1.0, 2.0, 1.0]))


def cells(step):
    """Return cells that divide the native field of view evenly, z, y, x."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, spacing) in enumerate(((2, 2.0), (1, 1.0), (0, 1.0))):
        affine[world, axis] = spacing * step
        affine[world, 3] = spacing * (step - 1) / 2
    return Geometry(shape=(20 // step, 40 // step, 40 // step), affine=affine)


@pytest.fixture
def lesion():
    mask = np.zeros(NATIVE.shape, np.uint8)
    mask[10:18, 12:20, 6:10] = 1
    return mask


def test_the_annotation_itself_as_a_map_agrees_wholly(lesion):
    found = agreement(lesion.astype(np.float32), lesion, NATIVE, cells(1))
    for name in ("pointing_game", "energy", "dice"):
        assert found[name]["value"] == 1
        assert found[name]["ceiling"] == pytest.approx(1, abs=1e-5)


def test_a_map_that_says_nothing_reaches_chance(lesion):
    flat = np.ones(NATIVE.shape, np.float32)

    found = agreement(flat, lesion, NATIVE, cells(4))

    share = lesion.mean()
    assert found["energy"]["value"] == pytest.approx(share)
    assert found["energy"]["chance"] == pytest.approx(share)
    assert found["pointing_game"]["value"] == pytest.approx(share)
    assert found["dice"]["value"] == pytest.approx(found["dice"]["chance"])


def test_coarse_cells_lower_the_ceiling(lesion):
    heat = lesion.astype(np.float32)
    fine, coarse = (agreement(heat, lesion, NATIVE, cells(step)) for step in (2, 10))
    assert coarse["dice"]["ceiling"] < fine["dice"]["ceiling"]
    assert coarse["energy"]["ceiling"] < fine["energy"]["ceiling"]
    assert coarse["dice"]["chance"] < coarse["dice"]["ceiling"]


def test_each_label_has_its_own_figures_beside_the_union(lesion):
    lesion[30:34, 30:34, 14:16] = 2
    heat = (lesion == 2).astype(np.float32)

    found = agreement(heat, lesion, NATIVE, cells(2))

    assert found["labels"]["nodes"]["energy"]["value"] == 1
    assert found["labels"]["primary"]["energy"]["value"] == 0
    assert found["energy"]["value"] == 1


def test_what_cannot_be_compared_says_why(lesion):
    heat = lesion.astype(np.float32)
    grid = cells(2)
    assert agreement(heat, None, NATIVE, grid) == {"not_applicable": "not annotated"}
    assert (
        "visible lesion" in agreement(heat, lesion * 0, NATIVE, grid)["not_applicable"]
    )
    assert "evidence" in agreement(heat * 0, lesion, NATIVE, grid)["not_applicable"]


def test_the_three_measures_by_hand():
    heat = np.array([[[0.0, 1.0, 3.0, 3.0]]])
    mask = np.array([[[False, True, True, False]]])
    assert pointing_game(heat, mask) == 0.5
    assert energy(heat, mask) == pytest.approx(4 / 7)
    assert dice(heat >= 1.5, mask) == pytest.approx(0.5)


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
