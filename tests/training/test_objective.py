"""What is minimised, against plain arithmetic."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from model_cases import TINY_PATCH_WIDTH, TINY_VOLUME, case_batch
from napari_harm3.errors import ModelError
from napari_harm3.models.interface import Prediction
from napari_harm3.models.registry import MODELS, build_model
from napari_harm3.training.config import TrainingConfig
from napari_harm3.training.objective import objective

LOGIT = torch.tensor([2.0, -1.0])
LOSSES = {"reconstruction": 3.0, "kl": 5.0, "contrast": 7.0}
CONFIG = TrainingConfig(reconstruction=0.5, kl=0.1, contrast=2.0, l1=0.01, kl_warmup=10)

ONE_A_NETWORK = {
    entry.network: name
    for name, entry in MODELS.items()
    if entry.group != "reference" and "clinical" not in entry.modalities
}.values()


def asked(*, epoch: int = 99, positive_weight: float = 1.0, losses=LOSSES, **has):
    prediction = Prediction(
        logit=LOGIT,
        losses={name: torch.tensor(value) for name, value in losses.items()},
        logged={"own": torch.tensor(11.0)},
    )
    return objective(
        prediction,
        case_batch(2),
        CONFIG,
        epoch=epoch,
        positive_weight=positive_weight,
        network=SimpleNamespace(**has),
    )


def cross_entropy(weight: float) -> float:
    """Of label 0 at logit 2, and of label 1 at logit -1."""
    return (math.log(1 + math.exp(2)) + weight * math.log(1 + math.exp(1))) / 2


def test_the_parts_are_weighed_as_the_recipe_says():
    loss, log = asked(l1=lambda: torch.tensor(13.0))

    expected = cross_entropy(1) + 0.5 * 3 + 0.1 * 5 + 2 * 7 + 0.01 * 13
    assert float(loss) == pytest.approx(expected)
    assert log["loss"] == pytest.approx(expected)
    assert log["bce"] == pytest.approx(cross_entropy(1))
    assert log["own"] == 11  # logged, and part of no sum


def test_a_loss_that_nothing_weighs_is_refused():
    losses = LOSSES | {"mine": 5.0}

    with pytest.raises(ModelError, match=r"losses mine: name them in its loss_weights"):
        asked(losses=losses)

    loss, _ = asked(losses=losses, loss_weights={"mine": 2.0})
    assert float(loss) == pytest.approx(float(asked()[0]) + 10)


@pytest.mark.parametrize("name", ONE_A_NETWORK)
def test_every_loss_of_a_registered_network_is_weighed(name):
    network = build_model(
        name,
        MODELS[name].sizes["small"],
        volume_size=TINY_VOLUME,
        patch_width=TINY_PATCH_WIDTH,
    )
    batch = case_batch(2)
    batch = replace(
        batch,
        tumour_mask=torch.ones_like(batch.mri),
        tumour_mask_avail=batch.mri_avail,
    )

    loss, _ = objective(
        network(batch), batch, CONFIG, epoch=0, positive_weight=1.0, network=network
    )

    assert loss.isfinite()


def test_a_pcr_case_weighs_as_much_as_it_is_told():
    _, log = asked(positive_weight=2.5)

    assert log["bce"] == pytest.approx(cross_entropy(2.5))


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.1), (4, 0.5), (9, 1), (50, 1)])
def test_the_divergence_warms_up_over_ten_epochs(epoch, share):
    loss, _ = asked(epoch=epoch)

    rest = cross_entropy(1) + 0.5 * 3 + 2 * 7
    assert float(loss) - rest == pytest.approx(share * 0.1 * 5, abs=1e-5)
