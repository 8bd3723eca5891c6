"""Ask a trained model: a run folder, or a model folder that was given away."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.cohort.case import BEFORE, Case
from napari_harm3.config import from_plain
from napari_harm3.data.clinical import ClinicalEncoding
from napari_harm3.data.collate import collate
from napari_harm3.data.config import InputConfig
from napari_harm3.data.dataset import PATTERNS, CaseItem, load_item
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import FeatureError, ModelError
from napari_harm3.inference.folder import read_folds, read_recipe
from napari_harm3.models.checkpoint import load_weights
from napari_harm3.models.entry import ModelEntry
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import build_model, model_entry
from napari_harm3.wsi.bags import read_attributes


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a model knows of a case, by the content of its files."""

    folds: tuple[int, ...]
    """Folds that may be asked."""

    seen: str
    """``held-out``, ``new`` or ``in-training``."""


@dataclass(frozen=True, kw_only=True)
class CaseInputs:
    """A prepared case as a model takes it; its files are read once."""

    prepared: PreparedCase
    item: CaseItem
    """Of which only what the model looks at."""

    batch: CaseBatch
    """The case alone, on the model's device."""

    sight: Sight


class Predictor:
    """The networks of a model, one per fold; their mean logit is its answer."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.config = read_recipe(folder)
        self._about = read_folds(folder)
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
    def _entry(self) -> ModelEntry:
        return model_entry(self.config.method)

    @property
    def _encoding(self) -> ClinicalEncoding:
        plain = self.about.get("clinical", {})
        return from_plain(ClinicalEncoding, plain, source=self.folder.name)

    def clinical_of(self, case: Case) -> dict[str, str]:
        """Return the columns of a case that the model looks at, as they are written."""
        if "clinical" not in self._entry.modalities:
            return {}
        names = [column.name for column in self._encoding.columns]
        return {name: case.extra.get(name, "").strip() for name in names}

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
        return self.config.model.required

    @property
    def reads_annotations(self) -> bool:
        """Whether a case is read with its annotations, where it has any."""
        return self._entry.annotations

    def lacks_annotations(self, case: Case) -> bool:
        """Return whether a case has no pair of annotations for an answer made of them.

        A network learns from annotations, and answers without.
        """
        answers_by_them = self._entry.annotations and self._entry.group == "reference"
        return answers_by_them and not any(
            {pre, post} <= case.masks.keys() for post, pre in BEFORE.items()
        )

    def missing_inputs(self, case: Case) -> tuple[str, ...]:
        """Return the inputs that a case lacks, without which nothing is said of it."""
        return self._entry.lacks(case, self.config.model)

    def refusal(self, case: Case) -> str:
        """Say why nothing is said of a case: which inputs it lacks.

        Empty if it has all that are needed.
        """
        absent = self.missing_inputs(case)
        if not absent:
            return ""
        remedy = "add the file to the cohort table."
        if "wsi" in absent and case.bare:
            remedy = f"{case.bare}, so give another slide."
        return (
            f"Case {case.case_id} lacks {', '.join(absent)}, and this model needs it: "
            f"{remedy}"
        )

    def auc_without(self, missing: Collection[str]) -> float | None:
        """Return the mean AUC over folds of cases that lacked the same inputs.

        None if that was not measured.
        """
        patterns = [name for name, gone in PATTERNS.items() if gone == set(missing)]
        found = [
            about["auc_when_missing"][name]
            for about in self._about.values()
            for name in patterns
            if about.get("auc_when_missing", {}).get(name) is not None
        ]
        return sum(found) / len(found) if found else None

    def threshold(self, folds: Sequence[int]) -> float:
        """Return the mean decision threshold of folds, chosen in training."""
        return sum(float(self._about[f]["threshold"]) for f in folds) / len(folds)

    def sight(self, sources: Iterable[str]) -> Sight:
        """Return which folds may be asked of a case.

        Parameters
        ----------
        sources
            Contents of the case's files, `PreparedCase.identities`; any one that is
            known gives it away.
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
        """Return a case as a batch of one; what `inputs_of` refuses is refused."""
        return self.inputs_of(prepared).batch

    def inputs_of(self, prepared: PreparedCase) -> CaseInputs:
        """Return a case as the model takes it.

        Raises
        ------
        FeatureError
            If its features are not of the kind that the model learned from.
        ModelError
            If the model wants its volumes cropped around an annotation, or an input
            that the case lacks.
        """
        self.check_blind()
        if fault := self.refusal(prepared.case):
            raise ModelError(fault)
        self._check_features(prepared)
        item, width = self._item(prepared), self.about["patch_width"]
        if item.features is not None and item.features.shape[1] != width:
            raise FeatureError(
                f"{prepared.bags[0].name} has {item.features.shape[1]} features a "
                f"patch, and this model learned from {width}: extract them again."
            )
        batch = collate([item], volume_size=self.inputs.mri.size, patch_width=width)
        return CaseInputs(
            prepared=prepared,
            item=item,
            batch=batch.to(self.device),
            sight=self.sight(prepared.identities.values()),
        )

    def _item(self, prepared: PreparedCase) -> CaseItem:
        clinical = "clinical" in self._entry.modalities
        return load_item(
            prepared,
            reads=self._entry.reads,
            clinical=self._encoding if clinical else None,
        )

    def check_blind(self) -> None:
        """Refuse a model that is told where the lesion is.

        Raises
        ------
        ModelError
            If its volumes were cropped around the annotation.
        """
        if self.inputs.mri.crop == "annotation":
            raise ModelError(
                f"{self.folder.name} learned from volumes cropped around the "
                "annotation, which tells it where the lesion is: it cannot be asked "
                "about a case. Train with another crop."
            )

    def network(self, fold: int) -> nn.Module:
        """Return a fold's network, for evaluation.

        Its logit is divided by the fold's temperature, so that the mean over folds,
        and that of their maps, weighs none that is too sure of itself.

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
                patch_width=about["patch_width"],
                clinical_width=self._encoding.width,
            )
            load_weights(about["folder"], network, about["sha256"])
            cool(network, float(about["temperature"]))
            self._networks[fold] = network.eval().to(self.device)
        return self._networks[fold]

    @torch.inference_mode()
    def probability(self, batch: CaseBatch, folds: Sequence[int]) -> float:
        """Return the probability of pCR: the mean of the folds' logits, squashed."""
        logits = [self.network(fold)(batch).logit for fold in folds]
        return float(mean_logit(logits).sigmoid()[0])

    def _check_features(self, prepared: PreparedCase) -> None:
        for bag in prepared.bags:
            attributes = read_attributes(bag) or {}
            check_features(bag.name, attributes, self.about["features"])


def check_features(
    name: str, found: Mapping[str, Any], learned: Mapping[str, Any]
) -> None:
    """Refuse features of another kind than a model learned from.

    Parameters
    ----------
    name
        Of the bag's file, for the message.
    found, learned
        What the bag says of how it was made, and what the model's bags said.

    Raises
    ------
    FeatureError
        Naming both, where encoder, weights, transform, resolution or rule differ.
    """
    for key, value in learned.items():
        if value is not None and found.get(key) != value:
            raise FeatureError(
                f"{name} was made with {key} {found.get(key)}, and this model learned "
                f"from {value}: extract the features again."
            )


def cool(network: nn.Module, temperature: float) -> None:
    """Have a network divide its logit, and with it every gradient of it."""
    network.register_forward_hook(
        lambda _, __, said: replace(said, logit=said.logit / temperature)
    )


def mean_logit(logits: Sequence[Float[Tensor, "B"]]) -> Float[Tensor, "B"]:
    """Return the answer of an ensemble."""
    return torch.stack(list(logits)).mean(dim=0)
