"""ConcatMlp: averages side by side."""

from dataclasses import replace

import torch

from model_cases import case_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.concat_mlp import ConcatMlp, mean_patch
from napari_harm3.models.baselines.fusion_config import SMALL_CONCAT_MLP

VOLUME, PATCH_WIDTH = (8, 16, 16), 12


def small() -> ConcatMlp:
    torch.manual_seed(0)
    network = ConcatMlp(SMALL_CONCAT_MLP, volume_size=VOLUME, patch_width=PATCH_WIDTH)
    return network.eval()


def cases():
    return case_batch(2, volume_size=VOLUME, patch_width=PATCH_WIDTH)


def test_the_mean_is_of_real_patches() -> None:
    patches = torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [False] * 4])

    mean = mean_patch(patches, mask)

    torch.testing.assert_close(mean[0], patches[0, :2].mean(dim=0))
    assert not mean[1].any()


def test_a_bag_twice_is_the_bag() -> None:
    network, batch = small(), cases()
    twice = replace(
        batch,
        wsi=batch.wsi.repeat(1, 2, 1),
        wsi_mask=batch.wsi_mask.repeat(1, 2),
        wsi_coords=batch.wsi_coords.repeat(1, 2, 1),
    )

    torch.testing.assert_close(network(twice).logit, network(batch).logit)


def test_every_volume_has_a_say_of_its_own() -> None:
    network, batch = small(), cases()
    logit = network(batch).logit

    for number in range(len(ROLES)):
        changed = batch.mri.clone()
        changed.view(2, len(ROLES), -1)[:, number] = 0.0
        assert not torch.allclose(network(replace(batch, mri=changed)).logit, logit)
