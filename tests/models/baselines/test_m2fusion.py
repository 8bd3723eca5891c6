"""M2Fusion: two times contrasted, two modalities made orthogonal."""

import math
from dataclasses import replace

import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.fusion_config import SMALL_M2FUSION
from napari_harm3.models.baselines.m2fusion import (
    M2Fusion,
    contrast_of_times,
    without,
)

VOLUME, PATCH_WIDTH = (8, 16, 16), 12
PCR, NONE, UNKNOWN = 1.0, 0.0, math.nan


def small(**choices) -> M2Fusion:
    torch.manual_seed(0)
    config = replace(SMALL_M2FUSION, **choices)
    return M2Fusion(config, volume_size=VOLUME, patch_width=PATCH_WIDTH)


def cases(count: int = 2):
    return case_batch(count, volume_size=VOLUME, patch_width=PATCH_WIDTH)


def test_what_the_other_says_is_taken_out() -> None:
    vector, other = torch.randn(2, 3, 8)

    rest = without(vector, other)

    torch.testing.assert_close((rest * other).sum(dim=1), torch.zeros(3))
    torch.testing.assert_close(without(rest, other), rest)


def test_nothing_is_taken_out_by_nothing() -> None:
    vector = torch.randn(2, 8)

    assert torch.equal(without(vector, torch.zeros(2, 8)), vector)


@pytest.mark.parametrize(
    ("post", "label", "expected"),
    [
        ([2.0, 0.0], NONE, 0.0),
        ([0.0, 1.0], NONE, 1.0),
        ([-1.0, 0.0], NONE, 2.0),
        ([2.0, 0.0], PCR, 1.0),
        ([0.0, 1.0], PCR, 0.0),
        ([-1.0, 0.0], PCR, 0.0),
        ([2.0, 0.0], UNKNOWN, 0.0),
    ],
)
def test_times_part_in_pcr_and_meet_without_it(post, label, expected) -> None:
    loss = contrast_of_times(
        torch.tensor([[1.0, 0.0]]), torch.tensor([post]), torch.tensor([label])
    )

    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_an_unknown_label_is_not_counted() -> None:
    pre, post = torch.randn(2, 3, 4)

    loss = contrast_of_times(pre, post, torch.tensor([PCR, NONE, UNKNOWN]))

    known = contrast_of_times(pre[:2], post[:2], torch.tensor([PCR, NONE]))
    torch.testing.assert_close(loss, known)


def test_the_contrast_belongs_to_training() -> None:
    network, batch = small(), cases()
    weighed = set(network.loss_weights)

    assert set(network(batch).losses) == weighed
    assert set(network.eval()(batch).losses) == {"orthogonality"}


@pytest.mark.parametrize(("sequence", "other"), [("t1", 1), ("t2", 0)])
def test_one_sequence_is_read(sequence: str, other: int) -> None:
    network, batch = small(sequence=sequence).eval(), cases()
    changed = batch.mri.clone()
    changed[:, other] = 7.0

    prediction = network(replace(batch, mri=changed))

    assert torch.equal(prediction.logit, network(batch).logit)
    assert {*prediction.feature_maps, "wsi"} == set(network.config.required)


def test_the_order_of_the_times_has_a_say() -> None:
    network, batch = small().eval(), cases()
    backwards = replace(batch, mri=batch.mri.flip(2))

    assert not torch.allclose(network(backwards).logit, network(batch).logit)


def test_a_case_without_a_slide_does_no_harm() -> None:
    batch = cases()
    batch.wsi_mask[0] = False

    assert small().eval()(batch).logit.isfinite().all()
