"""What is minimised: classification, Eq. (4), Eq. (5), and the L1 of section 3.2."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_harm3.errors import ModelError
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.training.config import TrainingConfig


def objective(
    prediction: Prediction,
    batch: CaseBatch,
    config: TrainingConfig,
    *,
    epoch: int,
    positive_weight: float,
    network: Any,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the loss of a batch, and its parts for the log.

    Parameters
    ----------
    prediction, batch
        Of one step.
    config
        The weights of HARM3's parts.
    epoch
        From 0 on; the divergence's weight grows with it.
    positive_weight
        How much a pCR case weighs.
    network
        What was asked; it may bring an L1 norm and the weights of its own losses.

    Raises
    ------
    ModelError
        If a loss has no weight.
    """
    parts = {
        "bce": binary_cross_entropy_with_logits(
            prediction.logit.float(),
            batch.label,
            pos_weight=torch.tensor(positive_weight, device=batch.label.device),
        ),
        **prediction.losses,
    }
    warm = min((epoch + 1) / config.kl_warmup, 1.0) if config.kl_warmup else 1.0
    weights = {
        "bce": 1.0,
        "reconstruction": config.reconstruction,
        "kl": config.kl * warm,
        "contrast": config.contrast,
        **getattr(network, "loss_weights", {}),
    }
    if unweighed := sorted(parts.keys() - weights.keys()):
        raise ModelError(
            f"Nothing weighs the network's losses {', '.join(unweighed)}: name them in "
            "its loss_weights, or hand them on as logged."
        )
    loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    if config.l1 and hasattr(network, "l1"):
        loss = loss + config.l1 * network.l1()
    log = parts | prediction.logged | {"loss": loss}
    return loss, {name: float(value.detach()) for name, value in log.items()}
