"""What a network still knows when it is shown another case's slide, or MRI."""

from collections.abc import Sequence
from dataclasses import replace

from napari_harm3.data.dataset import CaseItem

EXCHANGES = 4
"""Other cases whose input stands in, when it is asked what is left without one."""


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
