"""HMCAT: three levels of a slide, questioned by the MRI."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.fusion_config import SMALL_HMCAT, HmcatConfig
from napari_harm3.models.baselines.hmcat import (
    Hmcat,
    group_means,
    neighbourhoods,
    phenotype_means,
)

VOLUME, PATCH_WIDTH, PATCHES = (8, 16, 16), 12, 9
SIDE_UM = SMALL_HMCAT.neighbourhood * SMALL_HMCAT.patch_um


def small() -> Hmcat:
    torch.manual_seed(0)
    return Hmcat(SMALL_HMCAT, volume_size=VOLUME, patch_width=PATCH_WIDTH).eval()


def scattered_cases():
    """Three squares a slide, and a patch whose place is not known."""
    batch = case_batch(2, volume_size=VOLUME, patches=PATCHES, patch_width=PATCH_WIDTH)
    centres = torch.rand(2, PATCHES, 2, generator=torch.Generator().manual_seed(1))
    centres[..., 0] += torch.arange(PATCHES) % 3
    centres[:, 4] = math.nan
    return replace(batch, wsi_coords=centres * SIDE_UM)


def test_has_the_size_of_its_ancestor() -> None:
    with torch.device("meta"):
        network = Hmcat(HmcatConfig(), volume_size=(32, 128, 128), patch_width=768)

    own = sum(
        weight.numel()
        for name, weight in network.named_parameters()
        if not name.startswith("encoders")
    )

    assert own == pytest.approx(3.3e6, rel=0.01)


def test_patches_of_one_square_are_neighbours() -> None:
    place = [[0, 0], [3.9, 3.9], [4.1, 0], [0, 4.1], [0.1, 3.9]]
    centres = torch.tensor([place]) * 112.0
    everything = torch.ones(1, 5, dtype=torch.bool)

    group = neighbourhoods(centres, everything, side_um=4 * 112.0)[0].tolist()

    assert group[0] == group[1] == group[4]
    assert len({group[0], group[2], group[3]}) == 3


def test_a_patch_without_a_place_is_its_own_neighbourhood() -> None:
    batch = scattered_cases()
    nowhere = torch.full_like(batch.wsi_coords, math.nan)

    group = neighbourhoods(nowhere, batch.wsi_mask, side_um=SIDE_UM)
    means, there = group_means(batch.wsi, batch.wsi_mask, group)

    assert there.all()
    torch.testing.assert_close(
        means.gather(1, group[..., None].expand_as(batch.wsi)), batch.wsi
    )


def test_a_neighbourhood_is_the_mean_of_its_real_patches() -> None:
    patches = torch.randn(1, 6, 2)
    mask = torch.tensor([[True, True, True, True, True, False]])
    group = torch.tensor([[0, 2, 0, 2, 2, 5]])

    means, there = group_means(patches, mask, group)

    rows = patches[0].numpy()
    np.testing.assert_allclose(means[0, 0], rows[[0, 2]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(means[0, 2], rows[[1, 3, 4]].mean(axis=0), rtol=1e-5)
    assert there[0].tolist() == [True, False, True, False, False, False]


def test_phenotypes_share_the_real_patches_out() -> None:
    patches, mask = torch.randn(1, 5, 4), torch.tensor([[True] * 4 + [False]])
    prototypes = torch.randn(3, 4)

    means, there = phenotype_means(patches, mask, prototypes)

    rows = patches[0, :4].numpy()
    spread = np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
    scores = (rows - rows.mean(axis=1, keepdims=True)) / spread @ prototypes.T.numpy()
    shares = np.exp(scores / 2)
    shares /= shares.sum(axis=1, keepdims=True)
    expected = (shares / shares.sum(axis=0)).T @ rows
    np.testing.assert_allclose(means[0], expected, rtol=1e-4, atol=1e-6)
    assert there.all()


def test_the_order_of_a_scattered_bag_has_no_say() -> None:
    network, batch = small(), scattered_cases()
    order = torch.tensor([8, 3, 0, 5, 4, 1, 7, 2, 6])
    shuffled = replace(
        batch, wsi=batch.wsi[:, order], wsi_coords=batch.wsi_coords[:, order]
    )

    torch.testing.assert_close(network(shuffled).logit, network(batch).logit)


def test_where_patches_lie_has_a_say() -> None:
    network, batch = small(), scattered_cases()
    elsewhere = replace(batch, wsi_coords=batch.wsi_coords.roll(1, dims=1))

    assert not torch.allclose(
        network(elsewhere).logit, network(batch).logit, rtol=0, atol=1e-6
    )


def test_pooling_weighs_real_patches_only() -> None:
    batch = scattered_cases()
    batch.wsi_mask[:, -2:] = False

    weights = small()(batch).attn["pooling"]

    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 1))
    assert not weights[..., -2:].any()


def test_a_case_without_a_slide_does_no_harm() -> None:
    batch = scattered_cases()
    batch.wsi_mask[0] = False

    assert small()(batch).logit.isfinite().all()


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="heads = 3"):
        HmcatConfig(heads=3)
