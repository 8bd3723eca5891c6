"""What is minimised, against plain arithmetic."""

import math
from types import SimpleNamespace

import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.interface import Prediction
from napari_harm3.training.config import TrainingConfig
from napari_harm3.training.objective import objective

LOGIT = torch.tensor([2.0, -1.0])
LOSSES = {"reconstruction": 3.0, "kl": 5.0, "contrast": 7.0, "own": 11.0}
CONFIG = TrainingConfig(reconstruction=0.5, kl=0.1, contrast=2.0, l1=0.01, kl_warmup=10)


def asked(*, epoch: int = 99, positive_weight: float = 1.0, **has):
    prediction = Prediction(
        logit=LOGIT, losses={name: torch.tensor(v) for name, v in LOSSES.items()}
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


def test_a_pcr_case_weighs_as_much_as_it_is_told():
    _, log = asked(positive_weight=2.5)

    assert log["bce"] == pytest.approx(cross_entropy(2.5))


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.1), (4, 0.5), (9, 1), (50, 1)])
def test_the_divergence_warms_up_over_ten_epochs(epoch, share):
    loss, _ = asked(epoch=epoch)

    rest = cross_entropy(1) + 0.5 * 3 + 2 * 7
    assert float(loss) - rest == pytest.approx(share * 0.1 * 5, abs=1e-5)
