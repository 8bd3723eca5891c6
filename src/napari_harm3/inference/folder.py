"""What a model folder holds, checked when read: the recipe, and each fold's JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from napari_harm3.config import read_toml
from napari_harm3.errors import ConfigError, ModelError
from napari_harm3.models.checkpoint import ABOUT, read_about
from napari_harm3.training.config import RunConfig
from napari_harm3.training.run import fold_folders

RECIPE = "run.toml"
NEEDED: Mapping[str, TypeAdapter[Any]] = {
    "fold": TypeAdapter(NonNegativeInt),
    "trained_on": TypeAdapter(str),
    "made_up": TypeAdapter(bool),
    "features": TypeAdapter(dict[str, Any]),
    "patch_width": TypeAdapter(PositiveInt),
    "fitted_on": TypeAdapter(list[str]),
    "held_out": TypeAdapter(list[str]),
    "threshold": TypeAdapter(FiniteFloat),
    "temperature": TypeAdapter(Annotated[FiniteFloat, Field(gt=0)]),
}
"""Keys of a fold's JSON without which the model cannot be asked, and their kinds."""


def read_recipe(folder: Path) -> RunConfig:
    """Return how a model was trained.

    Raises
    ------
    ModelError
        If the folder is no model, or its recipe is not right.
    """
    if not (folder / RECIPE).exists():
        raise ModelError(
            f"{folder.name} is no model: give a run folder or an exported model."
        )
    try:
        return read_toml(folder / RECIPE, RunConfig)
    except ConfigError as error:
        reason = str(error).replace(str(folder), folder.name)
        raise ModelError(f"This model cannot be read. {reason}") from error


def read_folds(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the JSON of each finished fold by its number, and its ``folder``.

    Raises
    ------
    ModelError
        If there is none, or one lacks what is needed.
    """
    folds: dict[int, dict[str, Any]] = {}
    for path in fold_folders(folder):
        about = read_about(path)
        for name, kind in NEEDED.items():
            try:
                kind.validate_python(about.get(name), strict=True)
            except ValidationError as error:
                fault = "has no good" if name in about else "lacks"
                raise ModelError(
                    f"{folder.name}/{path.name}/{ABOUT} {fault} '{name}': copy the "
                    "model again, or train it again."
                ) from error
        folds[about["fold"]] = about | {"folder": path}
    if not folds:
        raise ModelError(f"{folder.name} has no finished fold: train it first.")
    return folds
