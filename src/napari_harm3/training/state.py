"""Where a fit stands, on disk: written whole, read without unpickling."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_harm3.artifacts import numbered, write_bytes, write_json
from napari_harm3.config import from_plain
from napari_harm3.errors import ConfigError, TrainingError
from napari_harm3.training.cost import Stopwatch

Weights = dict[str, Tensor]
STATES_KEPT = 2
UNREADABLE = (
    OSError,
    SafetensorError,
    ConfigError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    UnpicklingError,
    EOFError,
)
"""What reading a damaged state raises, or giving a network the state of another."""


@dataclass
class Progress:
    """Where a fit stands, apart from weights."""

    epoch: int = 0
    """Epochs finished."""

    steps: int = 0
    """Steps made."""

    best_auc: float = -1.0
    best_epoch: int = -1
    """Of the inner part; -1 without one."""

    history: list[dict[str, Any]] = field(default_factory=list)
    """A row of ``log.csv`` for each epoch."""

    seconds: float = field(default=0.0, compare=False)
    cpu_seconds: float = field(default=0.0, compare=False)
    """What the epochs took, in all the sessions that made them."""

    def add(self, watch: Stopwatch) -> None:
        """Count what an epoch took."""
        self.seconds += watch.seconds
        self.cpu_seconds += watch.cpu_seconds


@dataclass
class State:
    """Everything that a fit needs to go on."""

    progress: Progress
    network: Weights
    average: Weights
    best: Weights | None
    optimizer: dict[str, Any]
    """State dictionaries of the optimiser and of the gradient scaler."""


def save_state(folder: Path, state: State) -> None:
    """Write ``state-<step>`` under a temporary name, then rename; keep the last two."""
    temporary = folder / ".state"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    # By way of bytes: a full disk is no OSError to safetensors and torch.
    write_bytes(temporary / "network.safetensors", save(state.network))
    write_bytes(temporary / "average.safetensors", save(state.average))
    if state.best is not None:
        write_bytes(temporary / "best.safetensors", save(state.best))
    optimizer = io.BytesIO()
    torch.save(state.optimizer, optimizer)
    write_bytes(temporary / "optimizer.pt", optimizer.getvalue())
    write_json(temporary / "progress.json", asdict(state.progress))
    target = folder / f"state-{state.progress.steps}"
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in state_folders(folder)[:-STATES_KEPT]:
        shutil.rmtree(old)


def load_state(folder: Path, device: str) -> State | None:
    """Return the last state of a fold; None if it has none.

    Raises
    ------
    TrainingError
        If a file of it cannot be read.
    """
    found = state_folders(folder)
    if not found:
        return None
    state = found[-1]
    with readable(folder):
        best = state / "best.safetensors"
        return State(
            progress=_progress(state),
            network=load_file(state / "network.safetensors", device=device),
            average=load_file(state / "average.safetensors", device=device),
            best=load_file(best, device=device) if best.exists() else None,
            optimizer=torch.load(
                state / "optimizer.pt", map_location=device, weights_only=True
            ),
        )


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Say of a fold's last state, if it cannot be gone on from, what to do.

    Raises
    ------
    TrainingError
        For whatever a damaged state, or that of another network, raises within.
    """
    try:
        yield
    except UNREADABLE as error:
        raise TrainingError(
            f"{folder.name}/{state_folders(folder)[-1].name} cannot be read: remove "
            "that folder and resume from the state before."
        ) from error


def state_folders(folder: Path) -> list[Path]:
    """Return the states of a fold, the oldest first."""
    return numbered(folder, "state-")


def _progress(state: Path) -> Progress:
    plain = json.loads((state / "progress.json").read_text(encoding="utf-8"))
    whole = asdict(Progress(**plain))  # which refuses what it does not know
    progress = from_plain(Progress, whole, source="progress.json")
    if state.name != f"state-{progress.steps}":
        raise ValueError("It is another state's.")
    return progress


def copied_weights(network: nn.Module) -> Weights:
    """Return a copy of all weights in the plain order, as safetensors wants them."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
