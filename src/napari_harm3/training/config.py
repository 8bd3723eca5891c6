"""How a method is trained and measured (sections 3.1 and 3.2 of the paper)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT
from napari_harm3.data.config import InputConfig, Size
from napari_harm3.errors import ConfigError, ModelError
from napari_harm3.models.config import ModelConfig
from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.registry import config_class, model_entry
from napari_harm3.mri.config import AugmentConfig

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """The recipe. The paper gives Adam, 1e-4, 1e-6, L1 and L2, 200 epochs, batch 8."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Passes over the training cases, at most."""

    batch: Annotated[int, Field(ge=2, le=512)] = 8
    """Cases a step."""

    optimizer: Literal["adam", "adamw", "sgd", "radam"] = "adam"
    """How weights are moved; the paper's is Adam."""

    learning_rate: Positive = 1e-4
    """Of the optimizer; constant."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; no other has one."""

    weight_decay: NotNegative = 1e-6
    """L2, coupled as in Adam."""

    l1: NotNegative = 1e-6
    """Weight of the L1 norm, over fusion and head; the paper names no weight."""

    reconstruction: NotNegative = 1.0
    """Weight of Eq. (4)'s squared norms; the paper names none."""

    contrast: NotNegative = 0.1
    """Weight of Eq. (5); the paper names none."""

    kl: NotNegative = 1e-3
    """Weight of Eq. (4)'s divergence once warmed up; the paper names none."""

    kl_warmup: Annotated[int, Field(ge=0)] = 10
    """Epochs over which that weight grows from nothing."""

    class_weights: bool = True
    """Weigh pCR cases by n0/n1 of the training fold; the paper names no remedy."""

    inner_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.125
    """Share of the training part kept for threshold, early stop and calibration."""

    inner_least: Annotated[int, Field(ge=1)] = 10
    """Inner cases of each class below which nothing is chosen by them."""

    patience: Annotated[int, Field(ge=1)] = 40
    """Epochs without a better inner AUC before the fold stops."""

    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the averaged weights that are kept; 0 keeps the last weights."""

    patch_keep: tuple[Share, Share] = (0.5, 0.75)
    """Least and largest share of a bag that a step sees; the largest is above 0."""

    patch_cap: Annotated[int, Field(ge=1)] = 4000
    """Most patches of a bag that a step sees; tests see all."""

    modality_dropout: Share = 0.0
    """Chance that a training case is shown without its slide, a sequence, a time or
    all of its MRI, for networks that can do without; not in the paper."""

    augment: AugmentConfig = Field(default_factory=AugmentConfig)

    accumulate: Annotated[int, Field(ge=1, le=64)] = 1
    """Parts into which a step's cases are split to save memory; batch norm then takes
    its statistics over a part (of two cases at least)."""

    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision."""

    save_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between resumable states."""

    mask_every: Annotated[int, Field(ge=1)] = 10
    """Epochs between looks at what the inner AUC is without slide, and without MRI."""

    @field_validator("patch_keep")
    @classmethod
    def _leaves_patches(cls, value: tuple[Share, Share]) -> tuple[Share, Share]:
        least, largest = value
        if not least <= largest or not largest:
            raise ValueError(
                f"{least} to {largest} leaves no patches: give the least share, then "
                "the largest, above 0"
            )
        return value


SMALL: dict[str, Any] = {"epochs": 24, "learning_rate": 1e-3, "patience": 24}
"""What is other at the small size: at 1e-4 it is still learning after 24 epochs."""

LITERAL = "harm3-paper"
"""The paper's recipe to the letter, at any size."""

Budget = Literal["matched", "native"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """Everything that decides a run; ``run.toml`` holds it."""

    method: str = "harm3"
    """A name of the registry."""

    size: Size = "full"
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Folds by patient; a column ``fold`` in the cohort table wins."""

    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """Repeated cross-validation, each time with other folds."""

    seed: Annotated[int, Field(ge=0)] = 0
    inputs: InputConfig = Field(default_factory=InputConfig)
    model: SerializeAsAny[ModelConfig] = Field(default_factory=Harm3Config)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @field_validator("model", mode="wrap")
    @classmethod
    def _of_its_own_class(
        cls, value: Any, _: ValidatorFunctionWrapHandler
    ) -> ModelConfig:
        """Read what a file says by the class whose ``network`` it names."""
        if isinstance(value, ModelConfig):
            return value
        named = value.get("network", "harm3") if isinstance(value, dict) else "harm3"
        try:
            kind = config_class(str(named))
        except ModelError as error:
            raise ValueError(str(error)) from error
        return TypeAdapter(kind).validate_json(json.dumps(value))

    def without_paths(self) -> Self:
        """Return the recipe in which files of weights are named, not located."""
        encoder, model = self.inputs.encoder, self.model
        if encoder.weights is not None:
            encoder = replace(encoder, weights=Path(encoder.weights.name))
        if getattr(model, "weights", None) is not None:
            model = replace(model, weights=Path(model.weights.name))  # type: ignore[attr-defined,call-arg]
        return replace(self, inputs=replace(self.inputs, encoder=encoder), model=model)

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        try:
            takes = model_entry(self.method).sizes["full"].network
        except ModelError as error:
            raise ValueError(str(error)) from error
        if self.model.network != takes:
            raise ValueError(
                f"{self.method} takes a model of network '{takes}', not "
                f"'{self.model.network}'"
            )
        return self

    @classmethod
    def of(
        cls,
        method: str,
        size: Size,
        *,
        seed: int = 0,
        folds: int = 5,
        epochs: int | None = None,
        budget: Budget = "matched",
    ) -> "RunConfig":
        """Return the registered recipe of a method at a size.

        Parameters
        ----------
        method
            A name of the registry.
        size
            ``small`` or ``full``.
        seed, folds
            Of the cross-validation.
        epochs
            None for the recipe's own.
        budget
            ``matched`` trains every method alike, ``native`` as its authors did.

        Raises
        ------
        ConfigError
            If there is no such method.
        """
        try:
            entry = model_entry(method)
        except ModelError as error:
            raise ConfigError(str(error)) from error
        small = size == "small" and method != LITERAL
        fields = {**(SMALL if small else {}), **entry.recipe}
        if budget == "native":
            fields |= entry.native
        if epochs is not None:
            fields["epochs"] = epochs
        return cls(
            method=method,
            size=size,
            folds=folds,
            seed=seed,
            inputs=InputConfig.of_size(size),
            model=entry.sizes[size],
            training=TrainingConfig(**fields),
        )
