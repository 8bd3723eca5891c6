"""What a method costs: parameters, operations, time and memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class Stopwatch:
    """Seconds since it was made, but for those in which it was stopped."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """By the clock."""
        return time.monotonic() - self._began

    @property
    def cpu_seconds(self) -> float:
        """Of the processor, for all threads of this process."""
        return time.process_time() - self._cpu_began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Count nothing meanwhile."""
        seconds, cpu_seconds = self.seconds, self.cpu_seconds
        yield
        self._began = time.monotonic() - seconds
        self._cpu_began = time.process_time() - cpu_seconds


def forget_peak(device: torch.device) -> None:
    """Let the peak of a GPU's memory begin at what is held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: torch.device, *, alone: bool) -> float | None:
    """Return the most memory held: of the GPU since `forget_peak`, or of this process.

    A process's peak never falls: it says nothing, None, of one fold among others.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if not alone:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def cost_of(network: nn.Module, batch: CaseBatch, *, alone: bool) -> dict[str, Any]:
    """Return parameters, operations a case, and the peak of memory on what device.

    Parameters
    ----------
    network, batch
        The batch lies where the network does.
    alone
        Whether this process works for no one else; see `peak_memory_mb`.
    """
    device = batch.mri.device
    peak = peak_memory_mb(device, alone=alone)  # before operations are counted
    return {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "flops": forward_flops(network, batch) // len(batch.label),
        "device": device.type,
        "peak_memory_mb": None if peak is None else round(peak, 1),
    }
