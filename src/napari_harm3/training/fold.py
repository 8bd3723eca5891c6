"""One fold: fit it, choose its threshold inside it, and predict what it held out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from napari_harm3.artifacts import sha256_of, write_csv
from napari_harm3.cohort.splits import inner_split
from napari_harm3.config import from_plain, to_plain
from napari_harm3.data.clinical import ClinicalEncoding
from napari_harm3.data.dataset import PATTERNS, CaseItem, load_item
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import ModelError, Stopped
from napari_harm3.models.checkpoint import WEIGHTS, read_about, save_checkpoint
from napari_harm3.models.registry import build_model, model_entry
from napari_harm3.training.config import RunConfig
from napari_harm3.training.events import Event
from napari_harm3.training.exchange import exchangeable
from napari_harm3.training.health import unhealthy
from napari_harm3.training.loop import Engine
from napari_harm3.training.metrics import auc, figures
from napari_harm3.training.run import environment
from napari_harm3.training.seeding import reproducible, seed_of

SAID = ("auc", "auc_without_wsi", "auc_without_mri")
"""What the log says of the held-out cases; nothing is chosen by it."""

PAUSE = "pause"
"""While a run folder has a file of this name, its folds wait between two steps."""

POLL_SECONDS = 0.2
SLIDE_ONLY_GAP = 0.02
"""A gain of the MRI smaller than this is worth a warning."""

TEMPERATURE_SPREAD = 0.5
"""Of the logarithm of a temperature, before the inner part is seen: 0.4 to 2.7."""


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """Everything that a process needs to train a fold."""

    fold: int
    config: RunConfig
    run: Path
    fitted: tuple[PreparedCase, ...]
    held_out: tuple[PreparedCase, ...]
    """None in a fit on every case."""

    origin: Mapping[str, Any]
    """``trained_on``, ``made_up``, ``features``, ``patch_width`` and ``clinical`` of
    the run."""

    device: str
    alone: bool = False
    """Whether the process trains nothing else, so that its peak of memory is this."""

    @property
    def folder(self) -> Path:
        """Where the fold keeps its files."""
        return self.run / f"fold-{self.fold}"

    @property
    def finished(self) -> bool:
        """Whether the fold was trained to its end, and its weights are still whole."""
        try:
            sealed = read_about(self.folder)["sha256"]
            return bool(sha256_of(self.folder / WEIGHTS) == sealed)
        except (ModelError, OSError):
            return False


def run_fold(task: FoldTask, *, stopped: Callable[[], bool]) -> Iterator[Event]:
    """Train a fold, yielding events as ``events.jsonl`` has them.

    Raises
    ------
    TrainingError
        If the loss is no longer a number.
    Stopped
        When asked to, between two steps.
    """
    if task.finished:
        yield {"kind": "fold", "fold": task.fold, "text": "already finished"}
        return
    small_on_cpu = task.device == "cpu" and task.config.size == "small"
    with reproducible(threads=1 if small_on_cpu else None):
        yield from _trained(task, stopped)


def _trained(task: FoldTask, stopped: Callable[[], bool]) -> Iterator[Event]:
    config = task.config
    torch.manual_seed(seed_of(config.seed, task.fold))
    encoding = from_plain(ClinicalEncoding, task.origin["clinical"], source="the run")
    entry = model_entry(config.method)
    load = partial(
        load_item,
        reads=entry.reads,
        clinical=encoding if "clinical" in entry.modalities else None,
    )
    fitted = [load(prepared) for prepared in task.fitted]
    held_out = [load(prepared) for prepared in task.held_out]
    cases, inner, why = _inner(fitted, config, task.fold)
    if why:
        yield {"kind": "note", "fold": task.fold, "text": why}
    network = build_model(
        config.method,
        config.model,
        volume_size=config.inputs.mri.size,
        patch_width=task.origin["patch_width"],
        clinical_width=encoding.width,
    )
    engine = Engine(
        network,
        config,
        fold=task.fold,
        patch_width=task.origin["patch_width"],
        device=task.device,
        folder=task.folder,
    )
    for event in engine.fit(cases, inner):
        yield event.to_plain()
        if (task.run / PAUSE).exists():
            yield {"kind": "paused", "fold": task.fold, "text": "paused"}
        while (task.run / PAUSE).exists() and not stopped():
            time.sleep(POLL_SECONDS)
        if stopped():
            raise Stopped(f"Training stopped in fold {task.fold}; resume it any time.")
    noted = {
        "inner_note": why,
        "seconds": round(engine.progress.seconds, 1),
        "cpu_seconds": round(engine.progress.cpu_seconds, 1),
        "cost": engine.cost(cases[0], alone=task.alone),
    }
    yield from _finish(task, engine, inner, held_out, noted)


def _inner(
    fitted: Sequence[CaseItem], config: RunConfig, fold: int
) -> tuple[list[CaseItem], list[CaseItem], str]:
    """Return the cases to fit, the inner part, and why there is none."""
    training = config.training
    if not training.inner_fraction:
        return list(fitted), [], ""
    labelled = [item.case for item in fitted if item.case.pcr is not None]
    _, names = inner_split(
        labelled, fraction=training.inner_fraction, seed=config.seed * 1000 + fold
    )
    chosen = set(names)
    counts = [
        sum(case.pcr == value and case.case_id in chosen for case in labelled)
        for value in (0, 1)
    ]
    if min(counts) < training.inner_least:
        why = (
            f"The inner part would have {counts[1]} pCR and {counts[0]} other cases, "
            f"fewer than {training.inner_least}: nothing is chosen by it, the "
            "threshold is 0.5 and the averaged weights of the last epoch are kept."
        )
        return list(fitted), [], why
    return (
        [item for item in fitted if item.case.case_id not in chosen],
        [item for item in fitted if item.case.case_id in chosen],
        "",
    )


def _finish(
    task: FoldTask,
    engine: Engine,
    inner: Sequence[CaseItem],
    held_out: Sequence[CaseItem],
    noted: Mapping[str, Any],
) -> Iterator[Event]:
    """Calibrate on the inner part, predict the held-out part, write the fold."""
    temperature, threshold = 1.0, 0.5
    if inner:
        logits = engine.logits(inner)
        labels = np.array([item.case.pcr for item in inner])
        temperature = fitted_temperature(labels, logits)
        threshold = youden_threshold(labels, _sigmoid(logits / temperature))
    said = _held_out(engine, held_out, temperature) if held_out else {}
    _write_log(task.folder / "log.csv", engine.progress.history)
    about = {
        "fold": task.fold,
        "config": to_plain(task.config),
        "label": {"positive": "pCR", "negative": "no pCR", "values": [1, 0]},
        **task.origin,
        "fitted_on": _contents(task.fitted),
        "held_out": _contents(task.held_out),
        "inner_cases": len(inner),
        "threshold": threshold,
        "temperature": temperature,
        "epochs": engine.progress.epoch,
        "best_epoch": engine.progress.best_epoch,
        **noted,
        "versions": environment(),
        **said,
    }
    save_checkpoint(task.folder, engine.final_weights(), about)
    for text in _warnings(said, engine.progress.history):
        yield {
            "kind": "warning",
            "fold": task.fold,
            "text": f"Fold {task.fold}: {text}",
        }
    yield {
        "kind": "fold",
        "fold": task.fold,
        **{name: said[name] for name in SAID if name in said},
        "text": f"fold {task.fold} finished",
    }


def _held_out(
    engine: Engine, cases: Sequence[CaseItem], temperature: float
) -> dict[str, Any]:
    """Return what a fold says of the cases it held out."""
    labels = np.array([item.case.pcr for item in cases])

    both = exchangeable(engine.config.method)
    missing = PATTERNS if both and not engine.config.model.required else ()
    logits = engine.logits(cases)
    scores = _sigmoid(logits / temperature)
    return {
        "auc": auc(labels, logits),
        **{
            f"auc_without_{one}": auc(labels, engine.logits(cases, without=one))
            for one in both
        },
        "auc_when_missing": {
            name: auc(labels, engine.logits([case.without(name) for case in cases]))
            for name in missing
        },
        "metrics": figures(labels, scores, logit=logits),
        "predictions": [
            {"case_id": item.case.case_id, "pcr": item.case.pcr, "probability": score}
            for item, score in zip(cases, scores.tolist(), strict=True)
        ],
    }


def _warnings(
    said: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what is wrong with a fold that was trained to its end."""
    full, slide_only = said.get("auc"), said.get("auc_without_mri")
    if full is not None and slide_only is not None:
        gain = full - slide_only
        if gain < SLIDE_ONLY_GAP:
            yield (
                f"the MRI adds {gain:+.3f} AUC; the model may have settled on the "
                "slide alone."
            )
    ill = unhealthy(history[-1]) if history else []
    if ill:
        yield (
            f"the LD-VAE is not well: {'; '.join(ill)}. Rest nothing on the maps of "
            "its parts; train for longer, or on more cases."
        )


def youden_threshold(label: np.ndarray, score: Float[np.ndarray, "n"]) -> float:
    """Return the threshold of the largest SEN + SPE, midway between two scores."""
    edges = np.unique(score)
    candidates = np.concatenate([[0.5], (edges[1:] + edges[:-1]) / 2])
    said = score >= candidates[:, None]
    value = said[:, label == 1].mean(1) - said[:, label == 0].mean(1)
    return float(candidates[value.argmax()])


def fitted_temperature(label: np.ndarray, logits: Float[np.ndarray, "n"]) -> float:
    """Return what the logits are divided by: the likeliest, by a prior around 1.

    An inner part that is told apart without a fault is likeliest at 0, where every
    probability is 0 or 1 and one fold outvotes all others.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        surprise = np.sum(np.logaddexp(0, scaled) - label * scaled)
        return float(surprise + (log_temperature / TEMPERATURE_SPREAD) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def _sigmoid(logits: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def _contents(cases: Sequence[PreparedCase]) -> list[str]:
    return sorted({one for case in cases for one in case.identities.values()})


def _write_log(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    if history:
        write_csv(path, history, list(history[0]))
