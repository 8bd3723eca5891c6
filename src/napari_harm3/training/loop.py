"""Fit one network: a generator that says after each epoch how far it is.

Order, noise and augmentation are keyed by seed, fold and epoch, so that a run that was
stopped and resumed makes the same network as one that was not.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_harm3.artifacts import write_json
from napari_harm3.data.collate import collate
from napari_harm3.data.dataset import CaseItem, Variation
from napari_harm3.models.interface import CaseBatch
from napari_harm3.training.config import RunConfig, TrainingConfig
from napari_harm3.training.metrics import auc
from napari_harm3.training.objective import objective

Weights = dict[str, Tensor]
STATES_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """A step was made; the caller may stop between any two."""

    fold: int
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class EpochEvent:
    """An epoch was finished."""

    fold: int
    epoch: int
    epochs: int
    losses: dict[str, float]
    auc: float | None
    """On the inner part; None without one that is large enough."""

    seconds: float


@dataclass
class Progress:
    """Where a fit stands, apart from weights."""

    epoch: int = 0
    best_auc: float = -1.0
    best_epoch: int = -1
    steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Engine:
    """Fits one network on the cases of one fold.

    Parameters
    ----------
    network
        Freshly drawn; trained in place.
    config
        The run's.
    fold
        Number of the fold.
    patch_width
        Features of a patch.
    device
        ``cpu`` or ``cuda:N``.
    folder
        Where resumable states are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        config: RunConfig,
        *,
        fold: int,
        patch_width: int,
        device: str,
        folder: Path,
    ) -> None:
        self.config, self.fold = config, fold
        self.patch_width, self.folder = patch_width, folder
        # The state is a singleton of the process, and a worker's device may change.
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ["ACCELERATE_TORCH_DEVICE"] = device
        self.accelerator = Accelerator(
            cpu=device == "cpu", mixed_precision=config.training.precision
        )
        optimizer = torch.optim.Adam(
            network.parameters(),
            lr=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
        )
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.progress = Progress()
        self.average = self._weights()
        self.best: Weights | None = None

    def fit(
        self, cases: Sequence[CaseItem], inner: Sequence[CaseItem]
    ) -> Iterator[StepEvent | EpochEvent]:
        """Train to the end, yielding after every step and epoch.

        A fit that is stopped goes on from its last state, `TrainingConfig.save_every`
        epochs ago at most.
        """
        training = self.config.training
        self._resume()
        variation = Variation(
            seed=self.config.seed,
            augment=training.augment,
            patch_keep=training.patch_keep,
            patch_cap=training.patch_cap,
        )
        weight = _weight(cases, training)
        while self.progress.epoch < training.epochs and not self._exhausted():
            epoch, started = self.progress.epoch, time.monotonic()
            sums: dict[str, list[float]] = {}
            torch.manual_seed(seed_of(self.config.seed, self.fold, epoch))
            batches = _batches(len(cases), training.batch, self._rng(epoch))
            for step, chosen in enumerate(batches):
                varied = [variation.of(cases[index], epoch) for index in chosen]
                for name, value in self._step(varied, epoch, weight).items():
                    sums.setdefault(name, []).append(value)
                yield StepEvent(
                    fold=self.fold, epoch=epoch, step=step + 1, steps=len(batches)
                )
            losses = {name: float(np.mean(values)) for name, values in sums.items()}
            score = self._inner_auc(inner)
            self._finish_epoch(losses, score)
            yield EpochEvent(
                fold=self.fold,
                epoch=epoch,
                epochs=training.epochs,
                losses=losses,
                auc=score,
                seconds=time.monotonic() - started,
            )

    def final_weights(self) -> Weights:
        """Return what is kept: the best by inner AUC, the average, or the last."""
        if self.best is not None:
            return self.best
        return self.average if self.config.training.ema else self._weights()

    @torch.inference_mode()
    def logits(self, cases: Sequence[CaseItem], *, hide: str = "") -> np.ndarray:
        """Return the logits of cases under the final weights.

        Parameters
        ----------
        cases
            Whole bags, without variation.
        hide
            ``wsi`` or ``mri`` to see what is left without it.
        """
        return self._evaluated(cases, self.final_weights(), hide)

    def _save(self) -> None:
        """Write a resumable state; the last two are kept."""
        temporary = self.folder / ".state"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(self._weights(), temporary / "network.safetensors")
        save_file(self.average, temporary / "average.safetensors")
        if self.best is not None:
            save_file(self.best, temporary / "best.safetensors")
        torch.save(self.optimizer.state_dict(), temporary / "optimizer.pt")
        write_json(temporary / "progress.json", vars(self.progress))
        for path in temporary.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.rename(self.folder / f"state-{self.progress.epoch}")
        for old in _states(self.folder)[:-STATES_KEPT]:
            shutil.rmtree(old)

    def _resume(self) -> None:
        states = _states(self.folder)
        if not states or self.progress.epoch:
            return
        state, device = states[-1], str(self.accelerator.device)
        self._unwrapped().load_state_dict(
            load_file(state / "network.safetensors", device=device)
        )
        self.average = load_file(state / "average.safetensors", device=device)
        if (state / "best.safetensors").exists():
            self.best = load_file(state / "best.safetensors", device=device)
        self.optimizer.load_state_dict(
            torch.load(state / "optimizer.pt", map_location=device, weights_only=True)
        )
        self.progress = Progress(**json.loads((state / "progress.json").read_text()))

    def _step(
        self, cases: Sequence[CaseItem], epoch: int, positive_weight: float
    ) -> dict[str, float]:
        self.network.train()
        batch = self._collated(cases)
        with self.accelerator.autocast():
            prediction = self.network(batch)
            loss, log = objective(
                prediction,
                batch,
                self.config.training,
                epoch=epoch,
                positive_weight=positive_weight,
                l1=getattr(self._unwrapped(), "l1", None),
            )
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.optimizer.step()
        self._average()
        return log

    def _average(self) -> None:
        decay = self.config.training.ema
        self.progress.steps += 1
        steps = self.progress.steps
        # Early on the average follows the weights closely, later it smooths them.
        decay = min(decay, (1 + steps) / (10 + steps))
        for name, tensor in self._unwrapped().state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def _finish_epoch(self, losses: dict[str, float], score: float | None) -> None:
        progress = self.progress
        if score is not None and score > progress.best_auc:
            progress.best_auc, progress.best_epoch = score, progress.epoch
            self.best = {name: t.clone() for name, t in self._candidate().items()}
        progress.history.append({"epoch": progress.epoch, **losses, "inner_auc": score})
        progress.epoch += 1
        training = self.config.training
        if (
            progress.epoch % training.save_every == 0
            or progress.epoch == training.epochs
        ):
            self._save()

    def _exhausted(self) -> bool:
        progress = self.progress
        return (
            progress.best_epoch >= 0
            and progress.epoch - 1 - progress.best_epoch
            >= self.config.training.patience
        )

    def _inner_auc(self, inner: Sequence[CaseItem]) -> float | None:
        if not inner:
            return None
        logits = self._evaluated(inner, self._candidate(), "")
        return auc(np.array([item.case.pcr for item in inner]), logits)

    def _candidate(self) -> Weights:
        """Return the weights that an evaluation looks at: averaged, if they are."""
        return self.average if self.config.training.ema else self._weights()

    @torch.inference_mode()
    def _evaluated(
        self, cases: Sequence[CaseItem], weights: Weights, hide: str
    ) -> np.ndarray:
        network = self._unwrapped()
        current = self._weights()
        network.load_state_dict(weights)
        network.eval()
        logits = []
        for start in range(0, len(cases), self.config.training.batch):
            batch = self._collated(cases[start : start + self.config.training.batch])
            logits.append(network(hidden(batch, hide)).logit.float().cpu().numpy())
        network.load_state_dict(current)
        return np.concatenate(logits) if logits else np.zeros(0)

    def _weights(self) -> Weights:
        state = self._unwrapped().state_dict()
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def _unwrapped(self) -> nn.Module:
        network: nn.Module = self.accelerator.unwrap_model(self.network)
        return network

    def _collated(self, cases: Sequence[CaseItem]) -> CaseBatch:
        batch = collate(
            cases,
            volume_size=self.config.inputs.mri.size,
            patch_width=self.patch_width,
        )
        return batch.to(self.accelerator.device)

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, self.fold, epoch])


def hidden(batch: CaseBatch, what: str) -> CaseBatch:
    """Return a batch without its slides (``wsi``) or its volumes (``mri``)."""
    if what == "wsi":
        return replace(
            batch,
            wsi_mask=torch.zeros_like(batch.wsi_mask),
            wsi_avail=torch.zeros_like(batch.wsi_avail),
        )
    if what == "mri":
        return replace(batch, mri_avail=torch.zeros_like(batch.mri_avail))
    return batch


def _batches(count: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the order of an epoch in batches of like size: never one case alone."""
    order = rng.permutation(count)
    return np.array_split(order, max(1, -(-count // size)))


def _weight(cases: Sequence[CaseItem], training: TrainingConfig) -> float:
    """Return how much a pCR case weighs: n0/n1 of the cases that are fitted."""
    positives = sum(item.case.pcr == 1 for item in cases)
    if not training.class_weights or not positives:
        return 1.0
    return (len(cases) - positives) / positives


def seed_of(*key: int) -> int:
    """Return a seed for torch that depends on every number of a key."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _states(folder: Path) -> list[Path]:
    """Return the states of a fold, the oldest first."""
    found = [path for path in folder.glob("state-*") if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("state-")))
