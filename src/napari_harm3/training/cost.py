"""What a method costs: parameters, operations, time and memory."""

import resource
import sys
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_harm3.models.interface import CaseBatch


def forward_flops(network: nn.Module, batch: CaseBatch) -> int:
    """Return the floating-point operations of one forward pass over a batch."""
    was_training = network.training
    network.eval()
    try:
        # The counter follows modules by their gradients.
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            network(batch)
    finally:
        network.train(was_training)
    return int(counter.get_total_flops())


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory held so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def cost_of(network: nn.Module, batch: CaseBatch) -> dict[str, Any]:
    """Return parameters, operations a case, and the peak of memory."""
    return {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "flops": forward_flops(network, batch) // len(batch.label),
        "peak_memory_mb": round(peak_memory_mb(batch.mri.device), 1),
    }
