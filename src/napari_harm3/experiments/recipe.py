"""Which methods stand in which table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_harm3.models.registry import (
    BEYOND,
    REFERENCE,
    TABLE_1,
    TABLE_2,
    model_entry,
)

Table = Literal["table1", "table2"]
OURS = "harm3"
"""The method that all others are tested against."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A table to be made."""

    name: Table
    title: str
    number: int
    """As the paper counts it."""

    methods: tuple[str, ...]


def recipe_of(
    table: Table, *, beyond: bool = False, methods: Sequence[str] = ()
) -> Recipe:
    """Return a table's recipe.

    Parameters
    ----------
    table
        ``table1``: rivals, HARM3 and the rows that say what is easy; ``table2``: the
        ablations and HARM3.
    beyond
        Add the rows that the paper does not have.
    methods
        These alone, and HARM3; names of the registry or of another package.

    Raises
    ------
    ModelError
        If there is no such method.
    """
    first = table == "table1"
    entries = (*TABLE_1, *REFERENCE) if first else TABLE_2
    names = [entry.name for entry in entries]
    if beyond:
        names += [entry.name for entry in BEYOND]
    if methods:
        names = [model_entry(name).name for name in methods]
    ours_last = [name for name in dict.fromkeys(names) if name != OURS]
    return Recipe(
        name=table,
        title=(
            "Table 1: methods under the same folds"
            if first
            else "Table 2: ablations under the same folds"
        ),
        number=1 if first else 2,
        methods=(*ours_last, OURS),
    )
