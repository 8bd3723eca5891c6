"""LateFusion: two networks, one mean."""

import math
from dataclasses import replace

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from model_cases import case_batch
from napari_harm3.models.baselines.fusion_config import SMALL_LATE_FUSION
from napari_harm3.models.baselines.late_fusion import LateFusion
from napari_harm3.models.layers.known_labels import known_cross_entropy

VOLUME, PATCH_WIDTH = (8, 16, 16), 12


def small() -> LateFusion:
    torch.manual_seed(0)
    return LateFusion(SMALL_LATE_FUSION, volume_size=VOLUME, patch_width=PATCH_WIDTH)


def cases(**fields):
    return case_batch(2, volume_size=VOLUME, patch_width=PATCH_WIDTH, **fields)


def test_mri_and_slide_speak_independently() -> None:
    network, one, two = small().eval(), cases(), cases(seed=1)
    crossed = replace(one, wsi=two.wsi), replace(two, wsi=one.wsi)

    straight = network(one).logit + network(two).logit

    torch.testing.assert_close(
        network(crossed[0]).logit + network(crossed[1]).logit, straight
    )


def test_the_prediction_is_the_mean_of_both() -> None:
    network, batch = small().eval(), cases()
    both = network(batch).logit

    with torch.no_grad():
        network.slide_head.weight.zero_()
        network.slide_head.bias.zero_()
    mri = 2 * network(batch).logit
    slide = 2 * both - mri

    torch.testing.assert_close((mri + slide) / 2, both)
    assert not torch.allclose(slide, torch.zeros(2))


def test_each_learns_by_its_own_loss_in_training() -> None:
    network, batch = small(), cases()

    losses = network(batch).losses

    assert set(losses) == set(network.loss_weights) == {"mri_alone", "slide_alone"}
    losses["slide_alone"].backward()
    assert all(weight.grad is None for weight in network.encoder.parameters())
    assert network.slide_head.weight.grad.any()
    assert not network.eval()(batch).losses


def test_an_unknown_label_is_not_counted() -> None:
    logit, label = torch.randn(3), torch.tensor([1.0, math.nan, 0.0])

    loss = known_cross_entropy(logit, label)

    known = binary_cross_entropy_with_logits(logit[[0, 2]], label[[0, 2]])
    torch.testing.assert_close(loss, known)
    assert known_cross_entropy(logit, torch.full((3,), math.nan)) == 0


def test_pooling_weighs_real_patches_only() -> None:
    batch = cases()
    batch.wsi_mask[:, -2:] = False

    weights = small().eval()(batch).attn["pooling"]

    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 1))
    assert not weights[..., -2:].any()
