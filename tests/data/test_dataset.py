"""A case's files as arrays, what an epoch sees of them, and batches."""

import gzip
import json
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from model_cases import TINY_PATCH_WIDTH, TINY_VOLUME
from mri_grids import oriented
from napari_harm3.cohort.case import Case
from napari_harm3.data.collate import collate
from napari_harm3.data.config import InputConfig
from napari_harm3.data.dataset import Variation, load_item
from napari_harm3.data.made import MadeMri
from napari_harm3.data.prepare import (
    load_masks,
    load_mri,
    prepare_masks,
    prepare_mri,
    prepared_case,
    warnings_of,
)
from napari_harm3.errors import FeatureError, VolumeError
from napari_harm3.mri.config import AugmentConfig
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import write_volume
from training_cases import made_up_item, prepared_on_disk, write_bag


def variation(**fields) -> Variation:
    defaults = {
        "seed": 0,
        "augment": AugmentConfig(),
        "patch_keep": (0.5, 0.75),
        "patch_cap": 4000,
    }
    return Variation(**{**defaults, **fields})


def test_patches_of_all_slides_are_one_bag(tmp_path):
    prepared = prepared_on_disk(tmp_path, 1)
    write_bag(tmp_path / "second.h5", np.full((3, TINY_PATCH_WIDTH), 7.0))

    item = load_item(replace(prepared, bags=(*prepared.bags, tmp_path / "second.h5")))

    first = load_item(prepared)
    assert len(item.features) == len(first.features) + 3
    assert (item.features[-3:] == 7).all()


def test_a_patchs_place_is_its_centre_in_micrometres(tmp_path):
    item = load_item(prepared_on_disk(tmp_path, 1))

    # 224 pixels of 0.5 microns across, 448 of 0.25 down; corners at x = 0, 1, 2 ...
    np.testing.assert_allclose(item.centres_um[:, 0], 56 + 0.5 * np.arange(6))
    np.testing.assert_allclose(item.centres_um[:, 1], 56)


@pytest.mark.parametrize(("stated", "middle"), [(0.25, 28.0), (None, np.nan)])
def test_a_resolution_that_a_feature_file_does_not_say_is_the_tables(
    tmp_path, stated, middle
):
    prepared = prepared_on_disk(tmp_path, 1, slide_mpp=(stated,))
    with h5py.File(prepared.bags[0], "r+") as file:
        for name in ("mpp_x", "mpp_y"):
            del file.attrs[name]
        file.attrs["patch_level0_px"] = [224, 224]

    item = load_item(prepared)

    np.testing.assert_allclose(item.centres_um[0], middle)


def test_slides_of_different_width_are_refused_and_both_named(tmp_path):
    prepared = prepared_on_disk(tmp_path, 1)
    write_bag(tmp_path / "wide.h5", np.ones((3, 9)))

    with pytest.raises(FeatureError, match=r"C01\.h5 has 6 .* wide\.h5 has 9"):
        load_item(replace(prepared, bags=(*prepared.bags, tmp_path / "wide.h5")))


def feature_case(*slides) -> Case:
    """A case of feature files alone."""
    unsaid = (None,) * len(slides)
    return Case(case_id="A", row=2, slides=slides, slide_mpp=unsaid)


def test_a_case_whose_slides_show_nothing_is_without_them(tmp_path):
    write_bag(tmp_path / "bare.h5", np.ones((0, TINY_PATCH_WIDTH)))
    write_bag(tmp_path / "some.h5", np.ones((2, TINY_PATCH_WIDTH)))
    bare, some = tmp_path / "bare.h5", tmp_path / "some.h5"
    inputs = InputConfig.of_size("small")

    nothing = prepared_case(feature_case(bare, bare), inputs, tmp_path)
    something = prepared_case(feature_case(bare, some), inputs, tmp_path)

    assert (nothing.bags, nothing.case.bare_slides) == ((), (bare, bare))
    assert "wsi" in nothing.case.missing
    assert nothing.sources["wsi"] == "slide of bare"  # it is known again all the same
    assert something.bags == something.case.slides == (bare, some)
    assert something.case.bare_slides == ()


def test_a_case_without_files_has_none(tmp_path):
    prepared = replace(prepared_on_disk(tmp_path, 1), mri=None, bags=())

    item = load_item(prepared)

    assert item.mri is None
    assert item.features is None
    assert not item.available.any()


def test_an_epoch_is_the_same_whenever_it_is_seen():
    item, vary = made_up_item(1), variation()

    first, again = vary.of(item, 3), vary.of(item, 3)

    np.testing.assert_array_equal(first.mri, again.mri)
    np.testing.assert_array_equal(first.features, again.features)


@pytest.mark.parametrize("other", ["epoch", "seed", "case"])
def test_another_epoch_seed_or_case_is_varied_otherwise(other):
    item = made_up_item(1)
    renamed = replace(item, case=replace(item.case, case_id="other"))
    seen = variation().of(item, 0)

    varied = {
        "epoch": variation().of(item, 1),
        "seed": variation(seed=1).of(item, 0),
        "case": variation().of(renamed, 0),
    }[other]

    assert not np.array_equal(seen.mri, varied.mri)


def test_an_epoch_sees_half_to_three_quarters_of_the_patches():
    item = made_up_item(1)
    item = replace(
        item,
        features=np.arange(400, dtype=np.float32)[:, None],
        centres_um=np.arange(800, dtype=np.float32).reshape(400, 2),
    )

    for epoch in range(20):
        seen = variation().of(item, epoch)

        assert 200 <= len(seen.features) <= 300
        rows = seen.features[:, 0].astype(int)
        assert len(set(rows)) == len(rows)
        np.testing.assert_array_equal(seen.centres_um, item.centres_um[rows])


def test_a_large_bag_is_capped():
    seen = variation(patch_cap=2).of(made_up_item(1), 0)

    assert len(seen.features) == 2


def test_cases_of_different_bags_are_one_batch_with_masks():
    whole = made_up_item(1)
    short = replace(whole, features=whole.features[:2], centres_um=whole.centres_um[:2])
    bare = replace(
        whole,
        mri=None,
        features=None,
        centres_um=None,
        available=np.zeros((2, 2), bool),
        case=replace(whole.case, pcr=None),
    )

    batch = collate(
        [whole, short, bare], volume_size=TINY_VOLUME, patch_width=TINY_PATCH_WIDTH
    )

    assert batch.wsi_mask.sum(dim=1).tolist() == [6, 2, 0]
    assert batch.wsi_avail.tolist() == [True, True, False]
    assert batch.mri_avail.flatten(1).all(dim=1).tolist() == [True, True, False]
    assert not batch.wsi[1, 2:].any()
    assert not batch.mri[2].any()
    assert batch.label.isnan().tolist() == [False, False, True]
    np.testing.assert_array_equal(batch.wsi[0].numpy(), whole.features)
    np.testing.assert_array_equal(batch.mri[0, :, :, 0].numpy(), whole.mri)


def annotated_case(tmp_path):
    """A case of one volume whose annotation marks one large and one tiny lesion."""
    grid = oriented((0, 1, 2), (-1, 1, 1), shape=(64, 64, 24), spacing=(3, 3, 4))
    rng = np.random.default_rng(0)
    body = np.zeros(grid.shape, np.int16)
    body[8:56, 8:56, 2:22] = rng.integers(200, 900, (48, 48, 20))
    mask = np.zeros(grid.shape, np.uint8)
    mask[14:26, 30:42, 8:16] = 1
    mask[45, 45, 10] = 2
    write_volume(tmp_path / "v.nii.gz", body, grid.affine)
    write_volume(tmp_path / "m.nii.gz", mask, grid.affine)
    case = Case(
        case_id="A",
        row=2,
        volumes={"t1_pre": tmp_path / "v.nii.gz"},
        masks={"t1_pre": tmp_path / "m.nii.gz"},
    )
    return case, mask, grid


def test_annotations_lie_on_the_common_grid_beside_their_volumes(tmp_path):
    case, mask, grid = annotated_case(tmp_path)
    inputs = InputConfig.of_size("small")
    prepare_mri(case, inputs.mri, tmp_path / "w")
    made = prepare_masks(case, inputs.mri, tmp_path / "w")

    item = load_item(prepared_case(case, inputs, tmp_path / "w"))

    assert set(np.unique(item.masks)) == {0, 1}
    assert not item.masks[1].any()
    middle = np.argwhere(item.masks[0, 0] == 1).mean(axis=0)
    true = np.argwhere(mask == 1).mean(axis=0)
    apart = (item.affine @ [*middle, 1] - grid.affine @ [*true, 1])[:3]
    assert np.abs(apart).max() <= 4
    assert "1 lesion of m.nii.gz (nodes) cannot be seen" in warnings_of(made)["t1_pre"]


def test_an_epoch_moves_annotations_with_their_volumes(tmp_path):
    case, _, _ = annotated_case(tmp_path)
    inputs = InputConfig.of_size("small")
    prepare_mri(case, inputs.mri, tmp_path / "w")
    prepare_masks(case, inputs.mri, tmp_path / "w")
    item = load_item(prepared_case(case, inputs, tmp_path / "w"))
    item = replace(item, mri=np.where(item.masks == 1, 1, 0).astype(np.float32))
    still = AugmentConfig(intensity=0.0, bias=0.0, noise=0.0, degrees=20.0, shift=2.0)

    seen = variation(augment=still).of(item, 4)

    agree = ((seen.mri[0, 0] > 0.5) == (seen.masks[0, 0] == 1)).mean()
    assert agree > 0.99
    assert seen.masks.sum() > 0
    np.testing.assert_array_equal(
        seen.masks, variation(augment=still).of(item, 4).masks
    )


def test_prepared_annotations_follow_their_file(tmp_path):
    case, mask, grid = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    prepare_mri(case, config, tmp_path / "w")
    first = load_masks(prepare_masks(case, config, tmp_path / "w")).sum()

    write_volume(tmp_path / "m.nii.gz", np.roll(mask, 24, axis=0), grid.affine)
    moved = load_masks(prepare_masks(case, config, tmp_path / "w"))

    assert first > 0
    columns = np.flatnonzero(moved[0, 0].any(axis=(0, 1)))
    assert columns.max() < moved.shape[-1] / 2  # the first axis runs to the left


@pytest.mark.parametrize("prepare", [prepare_mri, prepare_masks])
@pytest.mark.parametrize(("damaged", "content"), [(".npy", None), (".json", b"[]")])
def test_what_was_prepared_and_damaged_is_prepared_anew(
    tmp_path, prepare, damaged, content
):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    prepare_mri(case, config, tmp_path / "w")
    made = prepare(case, config, tmp_path / "w")
    whole = np.load(made)
    spoilt = made.with_suffix(damaged)
    spoilt.write_bytes(spoilt.read_bytes()[:-1] if content is None else content)

    np.testing.assert_array_equal(np.load(prepare(case, config, tmp_path / "w")), whole)


@pytest.mark.parametrize("prepare", [prepare_mri, prepare_masks])
def test_an_empty_array_is_prepared_anew(tmp_path, prepare):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    prepare_mri(case, config, tmp_path / "w")
    made = prepare(case, config, tmp_path / "w")
    whole = made.read_bytes()
    made.write_bytes(b"")

    assert prepare(case, config, tmp_path / "w").read_bytes() == whole


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("name", [one.name for one in fields(MadeMri)])
def test_what_is_noted_of_volumes_and_is_no_such_thing_is_made_anew(
    tmp_path, name, gone
):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    note = prepare_mri(case, config, tmp_path / "w").with_suffix(".json")
    whole = json.loads(note.read_text())
    spoilt = {k: v for k, v in whole.items() if k != name}
    note.write_text(json.dumps(spoilt if gone else spoilt | {name: 5}))

    prepare_mri(case, config, tmp_path / "w")

    assert json.loads(note.read_text()) == whole


@pytest.mark.parametrize("changes", [{"warnings": 5}, {"key": 5}])
def test_what_is_noted_of_annotations_and_is_no_such_thing_is_made_anew(
    tmp_path, changes
):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    prepare_mri(case, config, tmp_path / "w")
    note = prepare_masks(case, config, tmp_path / "w").with_suffix(".json")
    whole = json.loads(note.read_text())
    note.write_text(json.dumps(whole | changes))

    made = prepare_masks(case, config, tmp_path / "w")

    assert json.loads(note.read_text()) == whole
    assert "1 lesion of m.nii.gz" in warnings_of(made)["t1_pre"]


def test_annotations_that_were_once_read_otherwise_are_made_anew(tmp_path):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    volumes = prepare_mri(case, config, tmp_path / "w")
    made = prepare_masks(case, config, tmp_path / "w")
    right, before = load_masks(made).copy(), volumes.stat().st_mtime_ns
    note = json.loads(made.with_suffix(".json").read_text())
    del note["key"]["reading"]
    made.with_suffix(".json").write_text(json.dumps(note))
    np.save(made, np.zeros_like(right))

    prepare_mri(case, config, tmp_path / "w")
    prepare_masks(case, config, tmp_path / "w")

    np.testing.assert_array_equal(load_masks(made), right)
    assert volumes.stat().st_mtime_ns == before


def test_a_volume_packed_anew_has_an_identity_in_common_with_the_first(tmp_path):
    case, _, _ = annotated_case(tmp_path)
    inputs = InputConfig.of_size("small")
    plain = gzip.decompress((tmp_path / "v.nii.gz").read_bytes())
    (tmp_path / "plain.nii").write_bytes(plain)
    again = replace(case, case_id="B", volumes={"t1_pre": tmp_path / "plain.nii"})
    identities = []
    for one in (case, again):
        prepare_mri(one, inputs.mri, tmp_path / "w")
        prepared = prepared_case(one, inputs, tmp_path / "w")
        identities.append(set(prepared.identities.values()))

    assert len(identities[0] & identities[1]) == 1
    assert len(identities[0] ^ identities[1]) == 2  # the SHA-256 of either file


def test_a_case_that_was_not_prepared_says_so(tmp_path):
    case, _, _ = annotated_case(tmp_path)

    with pytest.raises(VolumeError, match=r"volumes of A are not prepared"):
        prepared_case(case, InputConfig.of_size("small"), tmp_path / "w")


@pytest.mark.parametrize("change", ["annotation", "volume", "blank"])
def test_annotations_prepared_of_other_files_are_not_handed_out(tmp_path, change):
    case, mask, grid = annotated_case(tmp_path)
    inputs, work = InputConfig.of_size("small"), tmp_path / "w"
    prepare_mri(case, inputs.mri, work)
    made = prepare_masks(case, inputs.mri, work)
    assert prepared_case(case, inputs, work).masks == made

    if change == "annotation":
        write_volume(tmp_path / "m.nii.gz", np.roll(mask, 24, axis=0), grid.affine)
    elif change == "volume":
        body = read_volume(tmp_path / "v.nii.gz").array
        write_volume(tmp_path / "v.nii.gz", np.flip(body, axis=1), grid.affine)
        prepare_mri(case, inputs.mri, work)
    else:
        case = replace(case, masks={})

    assert prepared_case(case, inputs, work).masks is None


def test_a_cached_case_is_made_once_and_read_where_it_lies(tmp_path):
    case, _, _ = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    made = prepare_mri(case, config, tmp_path / "w")
    stamp = made.stat().st_mtime_ns

    again = prepare_mri(case, config, tmp_path / "w")

    assert again == made
    assert made.stat().st_mtime_ns == stamp
    assert isinstance(load_mri(again).array, np.memmap)


def test_a_changed_volume_or_recipe_is_prepared_anew(tmp_path):
    case, _, grid = annotated_case(tmp_path)
    config = InputConfig.of_size("small").mri
    made = prepare_mri(case, config, tmp_path / "w")
    before = load_mri(made).array.copy()

    other = prepare_mri(case, replace(config, crop="none"), tmp_path / "w")
    body = read_volume(tmp_path / "v.nii.gz").array
    write_volume(tmp_path / "v.nii.gz", np.flip(body, axis=1), grid.affine)
    after = load_mri(prepare_mri(case, config, tmp_path / "w")).array

    assert other != made
    assert not np.array_equal(before, after)


def test_a_crop_around_the_annotation_needs_one(tmp_path):
    case, _, grid = annotated_case(tmp_path)
    config = replace(InputConfig.of_size("small").mri, crop="annotation")

    cropped = load_mri(prepare_mri(case, config, tmp_path / "w"))

    middle = (cropped.affine @ [*(np.array(config.size) - 1) / 2, 1])[:3]
    # Of both lesions' box, from (14, 30, 8) to (45, 45, 15).
    np.testing.assert_allclose(middle, (grid.affine @ [29.5, 37.5, 11.5, 1])[:3])
    with pytest.raises(VolumeError, match="No annotation marks anything"):
        prepare_mri(replace(case, masks={}), config, tmp_path / "w2")
