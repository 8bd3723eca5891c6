"""The link between slide and MRI on networks whose every link is known."""

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from link_models import CELLS, GRID, SIZE, linked_network, spelled_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.prepare import prepared_case
from napari_harm3.errors import ModelError
from napari_harm3.explain.capture import layer_centres
from napari_harm3.explain.case import explain_case
from napari_harm3.explain.case_link import LinkSpace, link_of, tokens_of
from napari_harm3.explain.cells import Centres, cell_grid
from napari_harm3.explain.cross_attention import strongest_pairs
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.link_table import link_rows, write_link_csv
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.inference.predictor import Predictor

FEEDS = [0, 2, 1, 1, 2]
ASKS = [7, 40, 21]
"""Cells of t1_pre, t2_post and t1_post."""

VOXELS = np.array([[0, 0, -1.5, 30], [0, 2, 0, -12], [4, 0, 0, 5], [0, 0, 0, 1]], float)
"""From z, y, x of the common grid to RAS mm: x runs to the left."""

MOVED = np.array([[0, -1, 0, 7], [1, 0, 0, -3], [0, 0, 1, 11], [0, 0, 0, 1]], float)
ASK_WITHOUT_TORCH = """
import sys
from pathlib import Path
from napari_harm3.explain.link import CaseLink
link = CaseLink.from_npz(Path(sys.argv[1]))
heavy = {"torch", "h5py", "scipy", "cv2"} & set(sys.modules)
print(link.mri_of_patch(0).argmax(), sorted(heavy))
"""
PLACES = PatchPlaces(
    names=("one.svs", "two.svs"),
    slide=np.array([0, 0, 0, 1, 1]),
    corners=np.array([[0, 0], [100, 0], [0, 100], [0, 0], [100, 0]], float),
    sides=np.array([[100, 100], [100, 100]], float),
    sizes=np.array([[400, 300], [400, 300]], float),
    mpp=np.array([[0.5, 0.5], [0.25, 0.25]]),
)


def space(network, batch, **transforms):
    return LinkSpace(
        layout=network.token_layout().numpy(),
        available=batch.mri_avail[0].numpy(),
        cells=cell_grid(GRID, SIZE, VOXELS),
        transforms=transforms,
    )


def linked(batch=None, *, transforms=None, **fields):
    network = linked_network(FEEDS, fields.pop("asks", ASKS), **fields)
    batch = spelled_batch(len(FEEDS)) if batch is None else batch
    return link_of(
        [tokens_of(network(batch))],
        space(network, batch, **(transforms or {})),
        PLACES,
        case_id="HN-1",
    )


def without(batch, *roles):
    there = batch.mri_avail.clone()
    for role in roles:
        there[0, *divmod(ROLES.index(role), 2)] = False
    return replace(
        batch, mri=batch.mri * there[..., None, None, None, None], mri_avail=there
    )


def test_a_patch_asks_the_cell_that_its_token_asks() -> None:
    link = linked()

    for patch, token in enumerate(FEEDS):
        answer = link.mri_of_patch(patch)
        expected = np.zeros(4 * CELLS)
        expected[ASKS[token]] = 1
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_cell_is_asked_by_the_patches_that_feed_its_token() -> None:
    link = linked()

    for token, cell in enumerate(ASKS):
        fed = np.array([one == token for one in FEEDS])
        np.testing.assert_allclose(
            link.patches_of_token(cell), fed / fed.sum(), atol=1e-5
        )


def test_an_answer_is_a_map_of_each_volume() -> None:
    maps = linked().maps(linked().mri_of_patch(1))

    assert set(maps) == set(ROLES)
    assert all(one.shape == GRID for one in maps.values())
    assert maps["t1_post"][np.unravel_index(21 - CELLS, GRID)] == pytest.approx(1)
    assert sum(one.sum() for one in maps.values()) == pytest.approx(1)


@pytest.mark.parametrize("role", ROLES)
def test_a_place_belongs_to_the_cell_that_its_voxel_spells(role: str) -> None:
    batch = spelled_batch(len(FEEDS))
    link = linked(batch, transforms={"t1_post": MOVED})
    spelled = batch.mri[0, *divmod(ROLES.index(role), 2), 0].numpy()
    moved = MOVED if role == "t1_post" else np.eye(4)

    for index in np.ndindex(*SIZE):
        place = (moved @ VOXELS @ [*index, 1])[:3]
        assert link.token_at(role, place) == spelled[index]

    beyond = (moved @ VOXELS @ [-0.6, 0, 0, 1])[:3]
    assert link.token_at(role, beyond) is None


@pytest.mark.parametrize("start", [(0, 0, 0), (1, 3, 7)])
def test_a_place_belongs_to_the_cell_whose_centre_is_nearest(start) -> None:
    """As of an encoder whose strides begin with a voxel, and of one without padding."""
    centres = Centres(start=start, step=(2, 8, 8))
    cells = cell_grid(GRID, SIZE, VOXELS, centres)
    link = replace(linked(), affine=cells.affine, view=cells.view)
    number = np.arange(CELLS).reshape(GRID)

    for index in np.ndindex(*SIZE):
        token = link.token_at("t1_pre", (VOXELS @ [*index, 1])[:3])
        cell = np.argwhere(number == token)[0]
        for axis, voxel in enumerate(index):
            places = start[axis] + centres.step[axis] * np.arange(GRID[axis])
            away = np.abs(places - voxel)
            assert away[cell[axis]] == away.min()

    rows = link_rows(link, 5)
    for row in rows:
        cell = np.array([row["cell_z"], row["cell_y"], row["cell_x"]])
        centre = VOXELS @ [*(np.array(start) + np.array(centres.step) * cell), 1]
        told = [row["r_mm"], row["a_mm"], row["s_mm"]]
        np.testing.assert_allclose(told, centre[:3], atol=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_what_the_model_does_not_see_has_no_token(axis) -> None:
    cells = cell_grid(GRID, SIZE, VOXELS, Centres(start=(0, 0, 0), step=(2, 8, 8)))
    link = replace(linked(), affine=cells.affine, view=cells.view)

    for voxel, seen in ((-0.6, False), (-0.4, True), (0.4, True), (0.6, False)):
        index = np.zeros(3)
        index[axis] = voxel if voxel < 0 else SIZE[axis] - 1 + voxel
        token = link.token_at("t1_pre", (VOXELS @ [*index, 1])[:3])
        assert (token is not None) == seen, voxel


def test_a_click_on_either_side_finds_the_other() -> None:
    link = linked()
    cell = np.array([*np.unravel_index(40 - 3 * CELLS, GRID), 1])
    place = (link.cell_affine("t2_post") @ cell)[:3]

    asked_by = link.patches_at("t2_post", place)

    fed = np.array(FEEDS) == 1
    np.testing.assert_allclose(asked_by, fed / 2, atol=1e-5)
    patch = link.patch_at("two.svs", 99.9, 0)
    assert patch == 3
    assert link.mri_of_patch(patch).argmax() == 40
    assert link.patch_at("one.svs", 99.9, 0) == 0
    assert link.patch_at("one.svs", 150, 150) is None
    assert link.patch_at("three.svs", 0, 0) is None


def test_a_missing_volume_is_asked_nothing() -> None:
    link = linked(without(spelled_batch(len(FEEDS)), "t2_post"))

    answer = link.mri_of_patch(2)  # its token would ask there

    assert answer.sum() == pytest.approx(1)
    assert not answer[3 * CELLS :].any()
    assert set(link.maps(answer)) == {"t1_pre", "t1_post", "t2_pre"}
    assert link.patches_at("t2_post", VOXELS[:3, 3]) is None
    assert not link.patches_of_token(40).any()


def test_a_missing_sequence_leaves_the_other() -> None:
    link = linked(without(spelled_batch(len(FEEDS)), "t2_pre", "t2_post"))

    assert link.roles == ("t1_pre", "t1_post")
    assert link.mri_of_patch(0).argmax() == ASKS[0]
    assert link.mri_of_patch(2)[: 2 * CELLS].sum() == pytest.approx(1)


def test_times_that_were_added_up_share_their_map() -> None:
    batch = spelled_batch(len(FEEDS), streams=2)
    link = linked(batch, asks=[7, 20, 13], temporal="sum")

    maps = link.maps(link.mri_of_patch(2))

    assert not link.times_apart
    np.testing.assert_array_equal(maps["t2_pre"], maps["t2_post"])
    assert maps["t2_pre"][np.unravel_index(20 - CELLS, GRID)] == pytest.approx(1)
    assert not maps["t1_pre"].any()
    centre = (link.affine @ [*np.unravel_index(20 - CELLS, GRID), 1])[:3]
    for role in ("t2_pre", "t2_post"):
        assert link.token_at(role, centre) == 20
    assert {row["volume"] for row in link_rows(link)} == {"t1", "t2"}


def test_a_volume_missing_from_a_sum_is_left_out() -> None:
    batch = without(spelled_batch(len(FEEDS), streams=2), "t2_pre")
    link = linked(batch, asks=[7, 20, 13], temporal="sum")

    assert set(link.maps(link.mri_of_patch(2))) == {"t1_pre", "t1_post", "t2_post"}
    assert link.mri_of_patch(2).argmax() == 20


def test_folds_are_the_mean_of_their_tables() -> None:
    batch = spelled_batch(len(FEEDS))
    networks = [
        linked_network(FEEDS, ASKS),
        linked_network([1, 1, 0, 2, 2], [3, 8, 21]),
    ]
    each = [tokens_of(network(batch)) for network in networks]

    link = link_of(each, space(networks[0], batch), PLACES, case_id="x", folds=(0, 1))

    joint = np.mean([one.pooling.T @ one.cross / 3 for one in each], axis=0)
    for patch in range(5):
        row = joint[patch] / joint[patch].sum()
        np.testing.assert_allclose(link.mri_of_patch(patch), row, atol=1e-6)
    column = joint[:, 21] / joint[:, 21].sum()
    np.testing.assert_allclose(link.patches_of_token(21), column, atol=1e-6)
    some = joint[[0, 3]].sum(axis=0)
    np.testing.assert_allclose(link.mri_of_patch([0, 3]), some / some.sum(), atol=1e-6)


def test_the_strongest_links_say_where_they_lie(tmp_path) -> None:
    link = linked(transforms={"t1_post": MOVED})

    rows = link_rows(link, 5)
    write_link_csv(tmp_path / "link.csv", link, trained_on="phantom", count=5)

    first = rows[0]
    assert (first["patch"], first["slide"], first["volume"]) == (0, "one.svs", "t1_pre")
    assert first["share"] == pytest.approx(1 / 3, abs=1e-5)
    assert first["lift"] == pytest.approx(3, abs=1e-3)
    assert {(row["patch"], row["volume"]) for row in rows} == {
        *((0, "t1_pre"), (1, "t1_post"), (4, "t1_post")),
        *((2, "t2_post"), (3, "t2_post")),
    }
    moved = next(row for row in rows if row["volume"] == "t1_post")
    centre = [moved[name] for name in ("r_mm", "a_mm", "s_mm")]
    assert link.token_at("t1_post", centre) == 21
    with (tmp_path / "link.csv").open(newline="") as stream:
        read = next(csv.DictReader(stream))
    assert (float(read["share"]), read["trained_on"]) == (first["share"], "phantom")


def test_the_strongest_pairs_are_found_block_by_block() -> None:
    rng = np.random.default_rng(0)
    pooling, cross = rng.random((3, 11)), rng.random((3, 7))

    pairs, shares, lifts = strongest_pairs(pooling, cross, 20, block=4)

    joint = pooling.T @ cross / 3
    order = np.argsort(-joint, axis=None)[:20]
    np.testing.assert_array_equal(pairs, np.stack(np.divmod(order, 7), axis=1))
    np.testing.assert_allclose(shares, joint.ravel()[order])
    apart = np.outer(pooling.mean(axis=0), cross.mean(axis=0))
    np.testing.assert_allclose(lifts, (joint / apart).ravel()[order])
    assert len(strongest_pairs(pooling, cross, 1000, block=4)[0]) == 77


def test_a_lift_tells_what_is_special_to_a_patch() -> None:
    link = linked()

    answer, special = link.mri_of_patch(0), link.mri_of_patch(0, lift=True)

    np.testing.assert_allclose(special[7], 3, rtol=1e-4)
    assert answer[7] == pytest.approx(1, abs=1e-5)
    asked = link.patches_of_token(40, lift=True)
    np.testing.assert_allclose(asked, 3.0 * (np.array(FEEDS) == 1), atol=1e-3)


def test_a_patch_without_a_place_is_listed_without_it() -> None:
    nowhere = replace(PLACES, corners=np.full((5, 2), np.nan))
    link = replace(linked(), places=nowhere)

    row = link_rows(link, 1)[0]

    assert row["x"] is None
    assert row["y"] is None
    assert link.patch_at("one.svs", 0, 0) is None


def test_no_slide_or_no_mri_is_no_link() -> None:
    network = linked_network(FEEDS, ASKS, missing="tokens")
    batch = spelled_batch(len(FEEDS))
    slideless = replace(
        batch,
        wsi_mask=torch.zeros_like(batch.wsi_mask),
        wsi_avail=torch.zeros_like(batch.wsi_avail),
    )

    assert tokens_of(network(batch)) is not None
    assert tokens_of(network(slideless)) is None
    assert tokens_of(network(without(batch, *ROLES))) is None


def test_what_was_written_is_read_without_torch(tmp_path) -> None:
    link = linked(transforms={"t1_post": MOVED})
    path = tmp_path / "link.npz"
    link.to_npz(path)

    again = CaseLink.from_npz(path)
    asked = subprocess.run(
        [sys.executable, "-c", ASK_WITHOUT_TORCH, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert asked.stdout.split() == ["7", "[]"]
    assert again.case_id == "HN-1"
    assert again.places.names == PLACES.names
    np.testing.assert_array_equal(again.view, link.view)
    for role in ROLES:
        np.testing.assert_array_equal(again.cell_affine(role), link.cell_affine(role))
    np.testing.assert_array_equal(again.mri_of_patch(1), link.mri_of_patch(1))
    assert link_rows(again) == link_rows(link)


def test_a_link_of_an_earlier_version_is_read(tmp_path) -> None:
    path, link = tmp_path / "link.npz", linked()
    link.to_npz(path)
    with np.load(path) as file:
        stored = dict(file)
    np.savez(path, **stored, through_self_attention=False)

    again = CaseLink.from_npz(path)

    np.testing.assert_array_equal(again.cross, link.cross)
    assert "through_self_attention" not in stored


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "shapes"])
def test_a_damaged_link_is_told(tmp_path, damage: str) -> None:
    path = tmp_path / "link.npz"
    link = linked()
    if damage == "shapes":
        link = replace(link, pooling=link.pooling[:, :3])
    if damage != "missing":
        link.to_npz(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    if damage == "other":
        np.savez(path, something=np.zeros(3))

    with pytest.raises(ModelError, match=r"link\.npz"):
        CaseLink.from_npz(path)


def test_a_trained_models_link_is_one_table_seen_from_both_sides(
    run, prepared_cohort
) -> None:
    predictor = Predictor.load(run, "cpu")
    case = read_cohort(prepared_cohort).cases[0]
    prepared = prepared_case(case, predictor.inputs, prepared_cohort.parent / ".harm3")

    inputs = predictor.inputs_of(prepared)

    link = explain_case(predictor, inputs).link

    patches, cells = link.pooling.mean(axis=0), link.cross.mean(axis=0)
    assert patches.sum() == pytest.approx(1, abs=1e-4)
    assert cells.sum() == pytest.approx(1, abs=1e-4)
    for patch, cell in ((0, 0), (3, 50), (len(patches) - 1, len(cells) - 1)):
        assert link.mri_of_patch(patch)[cell] * patches[patch] == pytest.approx(
            link.patches_of_token(cell)[patch] * cells[cell], rel=1e-4
        )
    assert link.places.known.all()
    assert len(link.folds) == 1
    centres = layer_centres(predictor.network(link.folds[0]), inputs.batch)
    first, affine = np.array(centres["t1_pre"].start), inputs.item.affine
    # A strided encoder's first cell lies on the first voxel, and so does its token.
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_allclose(link.affine[:3, 3], affine[:3, 3])
    np.testing.assert_allclose(
        link.affine[:3, :3], affine[:3, :3] * centres["t1_pre"].step
    )
