"""Ask a trained model: a run folder, or a model folder that was given away."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.artifacts import write_json
from napari_harm3.cohort.case import ROLES
from napari_harm3.config import read_toml
from napari_harm3.data.collate import collate
from napari_harm3.data.config import InputConfig
from napari_harm3.data.dataset import load_item
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import FeatureError, ModelError
from napari_harm3.models.checkpoint import ABOUT, WEIGHTS, load_weights, read_about
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import MODELS, build_model
from napari_harm3.training.config import RunConfig
from napari_harm3.training.run import fold_folders
from napari_harm3.wsi.features import read_attributes

PRIVATE = ("predictions",)
"""Keys of a fold's JSON that name patients; they stay with the run."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a model knows of a case, by the content of its files."""

    folds: tuple[int, ...]
    """Folds that may be asked."""

    seen: str
    """``held-out``, ``new`` or ``in-training``."""


class Predictor:
    """The networks of a model, one per fold; their mean logit is its answer."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        if not (folder / "run.toml").exists():
            raise ModelError(
                f"{folder.name} is no model: give a run folder or an exported model."
            )
        self.config = read_toml(folder / "run.toml", RunConfig)
        self._about: dict[int, dict[str, Any]] = {}
        for fold in fold_folders(folder):
            about = read_about(fold)
            self._about[int(about["fold"])] = about | {"folder": fold}
        if not self._about:
            raise ModelError(f"{folder.name} has no finished fold: train it first.")
        self._networks: dict[int, nn.Module] = {}

    @classmethod
    def load(cls, folder: Path, device: str) -> "Predictor":
        """Return a model; its weights are read when first asked.

        Raises
        ------
        ModelError
            If the folder is no model, or a file of it cannot be read.
        """
        return cls(folder, device)

    @property
    def inputs(self) -> InputConfig:
        """How files become what the model sees."""
        return self.config.inputs

    @cached_property
    def about(self) -> dict[str, Any]:
        """What all folds share: ``trained_on``, ``made_up``, ``features``."""
        return next(iter(self._about.values()))

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds."""
        return sorted(self._about)

    @property
    def trained_on(self) -> str:
        """Name of the cohort; ``phantom`` for a made-up one."""
        return str(self.about["trained_on"])

    @property
    def made_up(self) -> bool:
        """Whether the model has seen only made-up patients."""
        return bool(self.about["made_up"])

    @property
    def requires(self) -> tuple[str, ...]:
        """The inputs without which the model says nothing."""
        modalities = MODELS[self.config.method].modalities
        roles = ROLES if "mri" in modalities else ()
        return (*roles, "wsi") if "wsi" in modalities else tuple(roles)

    def threshold(self, folds: Sequence[int]) -> float:
        """Return the mean decision threshold of folds, chosen in training."""
        return sum(float(self._about[f]["threshold"]) for f in folds) / len(folds)

    def sight(self, sources: Iterable[str]) -> Sight:
        """Return which folds may be asked of a case.

        Parameters
        ----------
        sources
            Contents of the case's files; any one that is known gives it away.
        """
        contents = set(sources)
        fitted = {
            fold
            for fold, about in self._about.items()
            if contents.intersection(about["fitted_on"])
        }
        held_out = {
            fold
            for fold, about in self._about.items()
            if contents.intersection(about["held_out"])
        }
        clean = tuple(sorted(set(self._about) - fitted))
        if not fitted and not held_out:
            return Sight(folds=clean, seen="new")
        if clean:
            return Sight(folds=clean, seen="held-out")
        return Sight(folds=tuple(sorted(self._about)), seen="in-training")

    def batch(self, prepared: PreparedCase) -> CaseBatch:
        """Return a case as a batch of one, on the model's device.

        Raises
        ------
        FeatureError
            If its features are not of the kind that the model learned from.
        """
        self._check_features(prepared)
        batch = collate(
            [load_item(prepared)],
            volume_size=self.inputs.mri.size,
            patch_width=int(self.about["patch_width"]),
        )
        return batch.to(self.device)

    def network(self, fold: int) -> nn.Module:
        """Return a fold's network, for evaluation.

        Raises
        ------
        ModelError
            If its weights are missing or damaged.
        """
        if fold not in self._networks:
            about = self._about[fold]
            network = build_model(
                self.config.method,
                self.config.model,
                volume_size=self.inputs.mri.size,
                patch_width=int(about["patch_width"]),
            )
            load_weights(about["folder"], network, about["sha256"])
            self._networks[fold] = network.eval().to(self.device)
        return self._networks[fold]

    @torch.inference_mode()
    def probability(self, batch: CaseBatch, folds: Sequence[int]) -> float:
        """Return the probability of pCR: the mean of the folds' logits, squashed."""
        logits = [
            self.network(fold)(batch).logit / self.temperature(fold) for fold in folds
        ]
        return float(mean_logit(logits).sigmoid()[0])

    def temperature(self, fold: int) -> float:
        """Return what a fold's logits are divided by."""
        return float(self._about[fold]["temperature"])

    def _check_features(self, prepared: PreparedCase) -> None:
        for bag in prepared.bags:
            found = read_attributes(bag) or {}
            for name, value in self.about["features"].items():
                if value is not None and found.get(name) != value:
                    raise FeatureError(
                        f"{bag.name} was made with {name} {found.get(name)}, and this "
                        f"model learned from {value}: extract the features again."
                    )


def mean_logit(logits: Sequence[Float[Tensor, "B"]]) -> Float[Tensor, "B"]:
    """Return the answer of an ensemble."""
    return torch.stack(list(logits)).mean(dim=0)


def export_model(run: Path, out: Path) -> None:
    """Write one model folder to give away: networks and recipe, no case names.

    Raises
    ------
    ModelError
        If the run has no finished fold, or the folder is not empty.
    """
    model = Predictor.load(run, "cpu")
    if out.exists() and any(out.iterdir()):
        raise ModelError(f"{out.name} is not empty: choose another folder.")
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    for fold in fold_folders(run):
        target = temporary / fold.name
        target.mkdir(parents=True)
        shutil.copyfile(fold / WEIGHTS, target / WEIGHTS)
        about = read_about(fold)
        write_json(target / ABOUT, {k: v for k, v in about.items() if k not in PRIVATE})
    for name in ("run.toml", "MODEL_CARD.md", "environment.json"):
        if (run / name).exists():
            shutil.copyfile(run / name, temporary / name)
    write_json(
        temporary / "model.json",
        {
            "method": model.config.method,
            "trained_on": model.trained_on,
            "made_up": model.made_up,
            "folds": model.folds,
        },
    )
    if out.exists():
        out.rmdir()
    temporary.rename(out)
