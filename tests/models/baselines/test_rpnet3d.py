"""3D-RPNet: its size, its subtraction, and the segmentation it learns beside."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.rpnet3d import RpNet3d
from napari_harm3.models.baselines.volume_config import SMALL_RPNET3D, RpNet3dConfig

GRID = (8, 16, 16)


def annotated(cases: int = 3):
    """Noise in which T1 and T2 are annotated at random, at random times."""
    batch = case_batch(cases, volume_size=GRID)
    rng = torch.Generator().manual_seed(5)
    return replace(
        batch,
        tumour_mask=torch.rand(batch.mri.shape, generator=rng).gt(0.8).float(),
        tumour_mask_avail=batch.mri_avail.clone(),
    )


def network(**choices) -> RpNet3d:
    torch.manual_seed(0)
    return RpNet3d(replace(SMALL_RPNET3D, **choices)).eval()


@pytest.mark.parametrize(("shared", "millions"), [(True, 8.55), (False, 16.8)])
def test_the_size_is_that_of_the_papers(shared: bool, millions: float) -> None:
    with torch.device("meta"):
        whole = RpNet3d(RpNet3dConfig(share_weights=shared))

    branches = [sum(w.numel() for w in b.parameters()) / 1e6 for b in whole.branches]
    count = sum(weight.numel() for weight in whole.parameters()) / 1e6

    assert branches == [pytest.approx(8.27, rel=0.01)] * (1 if shared else 2)
    assert count == pytest.approx(millions, rel=0.01)


def test_cases_in_which_nothing_changed_are_alike() -> None:
    batch = case_batch(3, volume_size=GRID)
    still = replace(batch, mri=batch.mri[:, :, :1].repeat(1, 1, 2, 1, 1, 1, 1))

    logits = network()(still).logit
    apart = network(share_weights=False)(still).logit

    torch.testing.assert_close(logits, logits[:1].expand(3))
    assert not torch.allclose(apart, apart[:1].expand(3))


@pytest.mark.parametrize(
    ("stride", "volume", "cells"),
    [((8, 16, 16), (32, 128, 128), (4, 8, 8)), ((4, 8, 8), (13, 33, 30), (4, 5, 4))],
)
def test_the_deepest_level_stops_at_the_output_stride(stride, volume, cells) -> None:
    config = replace(SMALL_RPNET3D, output_stride=stride)
    with torch.device("meta"):
        tapped, deepest, logits = RpNet3d(config).branches[0](
            torch.empty(1, 2, *volume)
        )

    assert tapped.shape[1] == 4 * config.base_channels
    assert deepest.shape == (1, 16 * config.base_channels, *cells)
    assert logits.shape == (1, 1, *volume)


def test_every_time_is_segmented_and_the_losses_weigh_a_fifth() -> None:
    rival, batch = network(), annotated()

    prediction = rival(batch)

    assert set(prediction.losses) == {"dice_pre", "dice_post"}
    assert rival.loss_weights == {"dice_pre": 0.2, "dice_post": 0.2}


def test_the_losses_are_dice_over_what_either_sequence_marks() -> None:
    batch = annotated()
    known = torch.tensor([[[1, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]).bool()
    batch = replace(batch, tumour_mask_avail=known)

    rival = network()
    prediction = rival(batch)

    with torch.no_grad():
        times = [rival.branches[0](batch.mri[:, :, time, 0])[2] for time in range(2)]
    logits = torch.stack(times, dim=1).double().numpy()[:, :, 0]
    for time, name in enumerate(("dice_pre", "dice_post")):
        losses = []
        for case in range(3):
            seen = [batch.tumour_mask[case, s, time, 0].numpy() for s in range(2)]
            seen = [m for s, m in enumerate(seen) if known[case, s, time]]
            if seen:
                target = np.max(seen, axis=0)
                chance = 1 / (1 + np.exp(-logits[case, time]))
                overlap = 2 * (chance * target).sum() + 1
                losses.append(1 - overlap / (chance.sum() + target.sum() + 1))
        assert prediction.losses[name].item() == pytest.approx(
            np.mean(losses), rel=1e-5
        )


def test_cases_without_annotation_have_no_say_in_the_segmentation() -> None:
    batch = annotated()
    nowhere = torch.zeros_like(batch.tumour_mask_avail)

    none = network()(replace(batch, tumour_mask_avail=nowhere)).losses
    absent = network()(case_batch(3, volume_size=GRID)).losses

    assert [loss.item() for loss in none.values()] == [0, 0]
    assert absent == {}


def test_a_lesion_that_has_gone_is_segmented_by_nothing() -> None:
    batch = annotated()
    gone = replace(batch, tumour_mask=torch.zeros_like(batch.tumour_mask))
    rival = network()
    with torch.no_grad():
        for segment in rival.branches[0].segment:
            segment.bias.fill_(-30)

    losses = rival(gone).losses

    assert all(loss.item() < 1e-3 for loss in losses.values())
