"""Fit one network: a generator that says after each step and epoch how far it is.

A case's augmentation and patches are keyed by seed, epoch and case; the order of the
cases, and what a network draws row by row of a batch, by seed, fold, epoch and step. A
run that was stopped and resumed so makes the same network as one that was not.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from napari_harm3.training.ahead import Ahead
from napari_harm3.training.config import RunConfig, TrainingConfig
from napari_harm3.training.cost import Stopwatch, cost_of, forget_peak
from napari_harm3.training.events import EpochEvent, StepEvent
from napari_harm3.training.exchange import exchangeable, exchanged
from napari_harm3.training.health import Health
from napari_harm3.training.metrics import auc
from napari_harm3.training.objective import objective
from napari_harm3.training.optimizers import load_optimizer, optimizer_of
from napari_harm3.training.scaling import fit_scales
from napari_harm3.training.seeding import batches_of, seed_of
from napari_harm3.training.state import (
    Progress,
    State,
    Weights,
    copied_weights,
    load_state,
    readable,
    save_state,
)

Cases = Sequence[CaseItem]


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
        self.network, self.optimizer = self.accelerator.prepare(
            network, optimizer_of(network.parameters(), config.training)
        )
        forget_peak(self.accelerator.device)
        self.progress = Progress()
        self.average = self._weights()
        self.best: Weights | None = None

    def fit(self, cases: Cases, inner: Cases) -> Iterator[StepEvent | EpochEvent]:
        """Train to the end, yielding after every step and epoch.

        A fit that is stopped goes on from its last state, `TrainingConfig.save_every`
        epochs ago at most.

        Raises
        ------
        TrainingError
            If the loss is no longer a number, or a saved state cannot be read.
        """
        training = self.config.training
        self._begin(cases)
        if hasattr(self._unwrapped(), "fit"):
            yield self._fitted_at_once(cases)
            return
        variation = Variation(
            seed=self.config.seed,
            augment=training.augment,
            patch_keep=training.patch_keep,
            patch_cap=training.patch_cap,
            modality_dropout=training.modality_dropout,
        )
        while self.progress.epoch < training.epochs and not self._exhausted():
            yield from self._epoch(cases, inner, variation)

    def cost(self, case: CaseItem, *, alone: bool) -> dict[str, Any]:
        """Return what the network costs, its operations on one case; see `cost_of`."""
        return cost_of(self._unwrapped(), self._collated([case]), alone=alone)

    def final_weights(self) -> Weights:
        """Return what is kept: the best by inner AUC, the average, or the last."""
        return self._candidate() if self.best is None else self.best

    def logits(self, cases: Cases, *, without: str = "") -> Float[np.ndarray, "n"]:
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

    def _begin(self, cases: Cases) -> None:
        """Fit the scales, and go on from the last state or from the weights given."""
        network = self._unwrapped()
        fit_scales(network, cases)
        if self._resumed():
            return
        if hasattr(network, "load_pretrained"):
            network.load_pretrained()
        self.average = self._weights()

    def _epoch(
        self, cases: Cases, inner: Cases, variation: Variation
    ) -> Iterator[StepEvent | EpochEvent]:
        """Show the network every case once."""
        epoch, watch, health = self.progress.epoch, Stopwatch(), Health()
        sums: dict[str, list[float]] = {}
        weight = _positive_weight(cases, self.config.training)
        key = (self.config.seed, self.fold, epoch)
        order = batches_of(len(cases), self.config.training.batch, key)
        batches = Ahead(
            self._parts([variation.of(cases[index], epoch) for index in chosen])
            for chosen in order
        )
        for step, parts in enumerate(batches):
            torch.manual_seed(seed_of(*key, step))
            log = self._step(parts, weight, health)
            for name, value in log.items():
                sums.setdefault(name, []).append(value)
            with watch.stopped():  # whoever listens may pause here
                yield StepEvent(
                    fold=self.fold,
                    epoch=epoch,
                    step=step + 1,
                    steps=len(order),
                    loss=log["loss"],
                )
        waited = batches.waited / watch.seconds
        losses = {name: float(np.mean(values)) for name, values in sums.items()}
        score = self._finish_epoch(losses, health, inner, watch)
        yield EpochEvent(
            fold=self.fold,
            epoch=epoch,
            epochs=self.config.training.epochs,
            losses=losses,
            auc=score,
            seconds=watch.seconds,
            data_wait=waited,
        )

    def _fitted_at_once(self, cases: Cases) -> EpochEvent:
        """Fit a network that needs no steps."""
        watch = Stopwatch()
        self._unwrapped().fit(self._collated(cases))
        self.average = self._weights()
        self.progress.epoch = 1
        self.progress.add(watch)
        return EpochEvent(
            fold=self.fold,
            epoch=0,
            epochs=1,
            losses={"loss": 0.0},
            auc=None,
            seconds=watch.seconds,
        )

    def _parts(self, cases: Cases) -> list[CaseBatch]:
        """Return a step's cases, in as many parts as `accumulate` says."""
        count = min(self.config.training.accumulate, max(len(cases) // 2, 1))
        return [
            self._collated([cases[index] for index in part])
            for part in np.array_split(np.arange(len(cases)), count)
        ]

    def _step(
        self, batches: Sequence[CaseBatch], positive_weight: float, health: Health
    ) -> dict[str, float]:
        """Make one step on the parts of a batch."""
        self.network.train()
        count = sum(len(batch.label) for batch in batches)
        log: dict[str, float] = {}
        for batch in batches:
            share = len(batch.label) / count
            with self.accelerator.autocast():
                prediction = self.network(batch)
                loss, parts = objective(
                    prediction,
                    batch,
                    self.config.training,
                    epoch=self.progress.epoch,
                    positive_weight=positive_weight,
                    network=self._unwrapped(),
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
        self, losses: dict[str, float], health: Health, inner: Cases, watch: Stopwatch
    ) -> float | None:
        """Look at the inner part, write the log's row, and save if it is time."""
        progress, training = self.progress, self.config.training
        score = self._inner_auc(inner, "")
        if score is not None and score > progress.best_auc:
            progress.best_auc, progress.best_epoch = score, progress.epoch
            self.best = {name: t.clone() for name, t in self._candidate().items()}
        last = progress.epoch + 1 == training.epochs
        masked = inner if last or progress.epoch % training.mask_every == 0 else ()
        without = {
            f"inner_auc_without_{one}": self._inner_auc(masked, one)
            for one in exchangeable(self.config.method)
        }
        progress.history.append(
            {
                "epoch": progress.epoch,
                "learning_rate": training.learning_rate,
                **losses,
                **health.figures(losses),
                "inner_auc": score,
                **without,
            }
        )
        progress.epoch += 1
        progress.add(watch)
        if last or progress.epoch % training.save_every == 0:
            self._save()
        return score

    def _exhausted(self) -> bool:
        progress = self.progress
        waited = progress.epoch - 1 - progress.best_epoch
        return progress.best_epoch >= 0 and waited >= self.config.training.patience

    def _inner_auc(self, inner: Cases, without: str) -> float | None:
        if not inner:
            return None
        logits = self._evaluated(inner, self._candidate(), without)
        return auc(np.array([item.case.pcr for item in inner]), logits)

    def _candidate(self) -> Weights:
        """Return the weights that an evaluation looks at: averaged, if they are."""
        return self.average if self.config.training.ema else self._weights()

    @torch.inference_mode()
    def _evaluated(
        self, cases: Cases, weights: Weights, without: str
    ) -> Float[np.ndarray, "n"]:
        network, training = self._unwrapped(), self.config.training
        size = max(training.batch // training.accumulate, 1)
        current = self._weights()
        network.load_state_dict(weights)
        network.eval()
        rounds = []
        for shown in exchanged(cases, without, seed=self.config.seed):
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
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": {} if scaler is None else scaler.state_dict(),
                },
            ),
        )

    def _resumed(self) -> bool:
        """Go on from the last state; return whether there is anything to go on from."""
        if self.progress.epoch:
            return True
        state = load_state(self.folder, str(self.accelerator.device))
        if state is None:
            return False
        with readable(self.folder):
            for weights in (state.best, state.average, state.network):  # all must fit
                if weights is not None:
                    self._unwrapped().load_state_dict(weights)
            load_optimizer(self.optimizer, state.optimizer["optimizer"])
            if self.accelerator.scaler is not None and state.optimizer["scaler"]:
                self.accelerator.scaler.load_state_dict(state.optimizer["scaler"])
        self.average, self.best = state.average, state.best
        self.progress = state.progress
        return True

    def _weights(self) -> Weights:
        return copied_weights(self._unwrapped())

    def _unwrapped(self) -> Any:
        return self.accelerator.unwrap_model(self.network)

    def _collated(self, cases: Cases) -> CaseBatch:
        batch = collate(
            cases,
            volume_size=self.config.inputs.mri.size,
            patch_width=self.patch_width,
        )
        return batch.to(self.accelerator.device)


def _positive_weight(cases: Cases, training: TrainingConfig) -> float:
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
