"""What is minimised: classification, Eq. (4), Eq. (5), and the L1 of section 3.2."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.training.config import TrainingConfig


def objective(
    prediction: Prediction,
    batch: CaseBatch,
    config: TrainingConfig,
    *,
    epoch: int,
    positive_weight: float,
    l1: Callable[[], Tensor] | None,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the loss of a batch, and its parts for the log.

    Parameters
    ----------
    prediction, batch
        Of one step.
    config
        The weights of the parts.
    epoch
        From 0 on; the divergence's weight grows with it.
    positive_weight
        How much a pCR case weighs.
    l1
        The network's L1 norm, where it has one.
    """
    parts = {
        "bce": binary_cross_entropy_with_logits(
            prediction.logit.float(),
            batch.label,
            pos_weight=torch.tensor(positive_weight, device=batch.label.device),
        )
    }
    warm = min((epoch + 1) / config.kl_warmup, 1.0) if config.kl_warmup else 1.0
    weights = {
        "reconstruction": config.reconstruction,
        "kl": config.kl * warm,
        "contrast": config.contrast,
    }
    loss = parts["bce"]
    for name, weight in weights.items():
        if name in prediction.losses:
            loss = loss + weight * prediction.losses[name]
    if l1 is not None and config.l1:
        loss = loss + config.l1 * l1()
    log = parts | prediction.losses | {"loss": loss}
    return loss, {name: float(value.detach()) for name, value in log.items()}
