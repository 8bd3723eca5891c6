"""A recipe that somebody changed, carried over to another method or size."""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from napari_harm3.config import Whole, changed
from napari_harm3.data.config import Size
from napari_harm3.training.config import Budget, RunConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def carried_over(
    recipe: RunConfig, *, method: str, size: Size, budget: Budget = "matched"
) -> RunConfig:
    """Return a method's registered recipe, with all in which ``recipe`` is special.

    Special is what is other than registered for the method and the size of ``recipe``.
    Choices of the network are carried only to a method with the same network.

    Raises
    ------
    ConfigError
        If there is no such method, or the two do not go together.
    """
    registered = RunConfig.of(recipe.method, recipe.size)
    target = RunConfig.of(method, size, budget=budget)
    same = recipe.model.network == target.model.network
    parts = ("inputs", "training", *(("model",) if same else ()))
    special = {
        name: _special(
            getattr(recipe, name),
            besides=getattr(registered, name),
            onto=getattr(target, name),
        )
        for name in parts
    }
    return changed(
        target,
        source="the configuration",
        folds=recipe.folds,
        repeats=recipe.repeats,
        seed=recipe.seed,
        **special,
    )


def _special(config: Whole, *, besides: "DataclassInstance", onto: Whole) -> Whole:
    """Return ``onto`` with every field in which ``config`` is not as ``besides``."""
    special = {}
    for field in fields(config):
        ours, usual, theirs = (
            getattr(one, field.name) for one in (config, besides, onto)
        )
        if type(ours) is type(usual) is type(theirs) and is_dataclass(type(ours)):
            special[field.name] = _special(ours, besides=usual, onto=theirs)
        elif ours != usual:
            special[field.name] = ours
    return changed(onto, source="the configuration", **special)
