"""A case's files as arrays, what an epoch sees of them, and batches."""

from dataclasses import replace

import numpy as np
import pytest

from model_cases import TINY_PATCH_WIDTH, TINY_VOLUME
from napari_harm3.data.collate import collate
from napari_harm3.data.dataset import Variation, load_item
from napari_harm3.mri.config import AugmentConfig
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
