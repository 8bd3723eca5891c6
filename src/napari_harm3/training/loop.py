"""Fit one network: a generator that says after each step and epoch how far it is.

Order, noise and augmentation are keyed by seed, fold, epoch, step and case, so that a
run that was stopped and resumed makes the same network as one that was not.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from jaxtyping import Float
from torch import nn

from napari_harm3.data.collate import collate
from napari_harm3.data.dataset import CaseItem, Variation
from napari_harm3.errors import TrainingError
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.layers.patch_scale import PatchScale
from napari_harm3.training.config import RunConfig, TrainingConfig
from napari_harm3.training.health import Health
from napari_harm3.training.metrics import auc
from napari_harm3.training.objective import objective
from napari_harm3.training.seeding import batches_of, seed_of
from napari_harm3.training.state import (
    Progress,
    State,
    Weights,
    load_state,
    save_state,
)

EXCHANGES = 4
"""Other cases whose input stands in, when it is asked what is left without one."""


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """A step was made; the caller may stop between any two."""

    fold: int
    epoch: int
    step: int
    steps: int
    loss: float


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
        self.accelerator = _accelerator(device, config.training.precision)
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

        Raises
        ------
        TrainingError
            If the loss is no longer a number, or a saved state cannot be read.
        """
        training = self.config.training
        self._scale(cases)
        self._resume()
        variation = Variation(
            seed=self.config.seed,
            augment=training.augment,
            patch_keep=training.patch_keep,
            patch_cap=training.patch_cap,
        )
        weight = _positive_weight(cases, training)
        while self.progress.epoch < training.epochs and not self._exhausted():
            epoch, started = self.progress.epoch, time.monotonic()
            sums: dict[str, list[float]] = {}
            health = Health()
            order = batches_of(
                len(cases), training.batch, (self.config.seed, self.fold, epoch)
            )
            for step, chosen in enumerate(order):
                torch.manual_seed(seed_of(self.config.seed, self.fold, epoch, step))
                varied = [variation.of(cases[index], epoch) for index in chosen]
                log = self._step(varied, weight, health)
                for name, value in log.items():
                    sums.setdefault(name, []).append(value)
                yield StepEvent(
                    fold=self.fold,
                    epoch=epoch,
                    step=step + 1,
                    steps=len(order),
                    loss=log["loss"],
                )
            losses = {name: float(np.mean(values)) for name, values in sums.items()}
            score = self._finish_epoch(losses, health, inner)
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
        return self._candidate() if self.best is None else self.best

    def logits(
        self, cases: Sequence[CaseItem], *, without: str = ""
    ) -> Float[np.ndarray, "n"]:
        """Return the logits of cases under the final weights.

        Parameters
        ----------
        cases
            Whole bags, without variation.
        without
            ``wsi`` or ``mri`` for what is left without it: the mean over other cases'
            in its place. (Marking it absent would say nothing: Eq. (7) passes on MRI
            tokens alone.)
        """
        return self._evaluated(cases, self.final_weights(), without)

    def _step(
        self, cases: Sequence[CaseItem], positive_weight: float, health: Health
    ) -> dict[str, float]:
        """Make one step on a batch, in as many parts as `accumulate` says."""
        self.network.train()
        count = min(self.config.training.accumulate, max(len(cases) // 2, 1))
        log: dict[str, float] = {}
        for part in np.array_split(np.arange(len(cases)), count):
            batch = self._collated([cases[index] for index in part])
            share = len(part) / len(cases)
            with self.accelerator.autocast():
                prediction = self.network(batch)
                loss, parts = objective(
                    prediction,
                    batch,
                    self.config.training,
                    epoch=self.progress.epoch,
                    positive_weight=positive_weight,
                    l1=getattr(self._unwrapped(), "l1", None),
                )
            health.add(prediction.latents)
            self.accelerator.backward(loss * share)
            for name, value in parts.items():
                log[name] = log.get(name, 0.0) + share * value
        if not math.isfinite(log["loss"]):
            raise TrainingError(
                f"The loss of fold {self.fold} is no longer a number in epoch "
                f"{self.progress.epoch + 1}: lower the learning rate, or train without "
                "mixed precision."
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._update_average()
        return log

    def _update_average(self) -> None:
        self.progress.steps += 1
        steps = self.progress.steps
        # Early on the average follows the weights closely, later it smooths them.
        decay = min(self.config.training.ema, (1 + steps) / (10 + steps))
        for name, tensor in self._unwrapped().state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def _finish_epoch(
        self, losses: dict[str, float], health: Health, inner: Sequence[CaseItem]
    ) -> float | None:
        """Look at the inner part, write the log's row, and save if it is time."""
        progress, training = self.progress, self.config.training
        score = self._inner_auc(inner, "")
        if score is not None and score > progress.best_auc:
            progress.best_auc, progress.best_epoch = score, progress.epoch
            self.best = {name: t.clone() for name, t in self._candidate().items()}
        last = progress.epoch + 1 == training.epochs
        masked = inner if last or progress.epoch % training.mask_every == 0 else ()
        progress.history.append(
            {
                "epoch": progress.epoch,
                "learning_rate": training.learning_rate,
                **losses,
                **health.figures(losses),
                "inner_auc": score,
                "inner_auc_without_wsi": self._inner_auc(masked, "wsi"),
                "inner_auc_without_mri": self._inner_auc(masked, "mri"),
            }
        )
        progress.epoch += 1
        if last or progress.epoch % training.save_every == 0:
            self._save()
        return score

    def _exhausted(self) -> bool:
        progress = self.progress
        waited = progress.epoch - 1 - progress.best_epoch
        return progress.best_epoch >= 0 and waited >= self.config.training.patience

    def _inner_auc(self, inner: Sequence[CaseItem], without: str) -> float | None:
        if not inner:
            return None
        logits = self._evaluated(inner, self._candidate(), without)
        return auc(np.array([item.case.pcr for item in inner]), logits)

    def _candidate(self) -> Weights:
        """Return the weights that an evaluation looks at: averaged, if they are."""
        return self.average if self.config.training.ema else self._weights()

    @torch.inference_mode()
    def _evaluated(
        self, cases: Sequence[CaseItem], weights: Weights, without: str
    ) -> Float[np.ndarray, "n"]:
        network, size = self._unwrapped(), self.config.training.batch
        current = self._weights()
        network.load_state_dict(weights)
        network.eval()
        rounds = []
        for shown in exchanged(cases, without):
            logits = [
                self.network(self._collated(shown[start : start + size]))
                .logit.float()
                .cpu()
                .numpy()
                for start in range(0, len(shown), size)
            ]
            rounds.append(np.concatenate(logits) if logits else np.zeros(0))
        network.load_state_dict(current)
        return np.asarray(np.mean(rounds, axis=0))

    def _scale(self, cases: Sequence[CaseItem]) -> None:
        """Fit the scale of patch features on the training part."""
        bags = [item.features for item in cases if item.features is not None]
        scales = [m for m in self.network.modules() if isinstance(m, PatchScale)]
        if not bags or not scales:
            return
        count = sum(len(bag) for bag in bags)
        centre = sum(bag.sum(axis=0, dtype=np.float64) for bag in bags) / count
        squares = sum(((bag - centre) ** 2).sum(axis=0) for bag in bags)
        spread = np.sqrt(squares / count)
        for scale in scales:
            scale.fit(torch.from_numpy(centre), torch.from_numpy(spread))
        self.average = self._weights()

    def _save(self) -> None:
        scaler = self.accelerator.scaler
        save_state(
            self.folder,
            State(
                progress=self.progress,
                network=self._weights(),
                average=self.average,
                best=self.best,
                optimizer={
                    "adam": self.optimizer.state_dict(),
                    "scaler": {} if scaler is None else scaler.state_dict(),
                },
            ),
        )

    def _resume(self) -> None:
        if self.progress.epoch:
            return
        state = load_state(self.folder, str(self.accelerator.device))
        if state is None:
            return
        self._unwrapped().load_state_dict(state.network)
        self.average, self.best = state.average, state.best
        self.optimizer.load_state_dict(state.optimizer["adam"])
        if self.accelerator.scaler is not None and state.optimizer["scaler"]:
            self.accelerator.scaler.load_state_dict(state.optimizer["scaler"])
        self.progress = state.progress

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


def exchanged(cases: Sequence[CaseItem], without: str) -> list[list[CaseItem]]:
    """Return the cases, or rounds of them in which each has another's input."""
    if not without or len(cases) < 2:
        return [list(cases)]
    rounds = []
    for shift in range(1, min(EXCHANGES, len(cases) - 1) + 1):
        others = [*cases[shift:], *cases[:shift]]
        rounds.append(
            [
                _with(one, other, without)
                for one, other in zip(cases, others, strict=True)
            ]
        )
    return rounds


def _with(one: CaseItem, other: CaseItem, what: str) -> CaseItem:
    if what == "wsi":
        return replace(one, features=other.features, centres_um=other.centres_um)
    return replace(one, mri=other.mri, available=other.available, aligned=other.aligned)


def _positive_weight(cases: Sequence[CaseItem], training: TrainingConfig) -> float:
    """Return how much a pCR case weighs: n0/n1 of the cases that are fitted."""
    positives = sum(item.case.pcr == 1 for item in cases)
    if not training.class_weights or not positives:
        return 1.0
    return (len(cases) - positives) / positives


def _accelerator(device: str, precision: str) -> Accelerator:
    """Return an accelerator for one device.

    Its state belongs to the process and would keep the first device and precision it
    ever saw.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    if device == "cpu":
        return Accelerator(cpu=True, mixed_precision=precision)
    os.environ["ACCELERATE_TORCH_DEVICE"] = device
    try:
        return Accelerator(mixed_precision=precision)
    finally:
        del os.environ["ACCELERATE_TORCH_DEVICE"]
