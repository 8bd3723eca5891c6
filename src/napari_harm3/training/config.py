"""How a method is trained and measured (sections 3.1 and 3.2 of the paper)."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT
from napari_harm3.data.config import InputConfig, Size
from napari_harm3.errors import ConfigError
from napari_harm3.models.harm3.config import SMALL_HARM3, Harm3Config
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

    learning_rate: Positive = 1e-4
    """Of Adam; constant."""

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
    """Least and largest share of a bag that a step sees."""

    patch_cap: Annotated[int, Field(ge=1)] = 4000
    """Most patches of a bag that a step sees; tests see all."""

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


PAPER_TRAINING = TrainingConfig(class_weights=False, inner_fraction=0.0, ema=0.0)
"""The paper's recipe to the letter, where it speaks."""

METHODS = {"harm3": TrainingConfig(), "harm3-paper": PAPER_TRAINING}
"""The recipe of each method; the network is the same."""

SMALL: dict[str, Any] = {"epochs": 16, "learning_rate": 1e-3, "patience": 16}
"""What is other at the small size: at 1e-4 it is still learning after 16 epochs."""


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
    model: Harm3Config = Field(default_factory=Harm3Config)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @classmethod
    def of(
        cls,
        method: str,
        size: Size,
        *,
        seed: int = 0,
        folds: int = 5,
        epochs: int | None = None,
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

        Raises
        ------
        ConfigError
            If there is no such method.
        """
        if method not in METHODS:
            raise ConfigError(
                f"There is no method '{method}': `harm3 models` lists them."
            )
        training = METHODS[method]
        if size == "small" and method != "harm3-paper":
            training = replace(training, **SMALL)
        if epochs is not None:
            training = replace(training, epochs=epochs)
        return cls(
            method=method,
            size=size,
            folds=folds,
            seed=seed,
            inputs=InputConfig.of_size(size),
            model=SMALL_HARM3 if size == "small" else Harm3Config(),
            training=training,
        )
