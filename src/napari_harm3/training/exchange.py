"""What a network still knows when it is shown another case's slide, or MRI."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_harm3.data.dataset import CaseItem
from napari_harm3.models.registry import model_entry

EXCHANGES = 4
"""Other cases whose input stands in, when it is asked what is left without one."""


def exchangeable(method: str) -> tuple[str, ...]:
    """Return the inputs whose worth another case's in their place can tell."""
    looked_at = model_entry(method).modalities
    return ("wsi", "mri") if {"wsi", "mri"} <= set(looked_at) else ()


def exchanged(
    cases: Sequence[CaseItem], without: str, *, seed: int
) -> list[list[CaseItem]]:
    """Return the cases, or rounds of them in which each has another's input.

    Whose it is follows a drawn order: in a table sorted by label or centre, the next
    row's would tell what the own one told.
    """
    if not without or len(cases) < 2:
        return [list(cases)]
    ring = np.random.default_rng(seed).permutation(len(cases))
    rounds = []
    for shift in range(1, min(EXCHANGES, len(cases) - 1) + 1):
        shown = list(cases)
        for own, other in zip(ring, np.roll(ring, -shift), strict=True):
            shown[own] = _with(cases[own], cases[other], without)
        rounds.append(shown)
    return rounds


def _with(one: CaseItem, other: CaseItem, what: str) -> CaseItem:
    if what == "wsi":
        return replace(one, features=other.features, centres_um=other.centres_um)
    return replace(one, mri=other.mri, available=other.available, aligned=other.aligned)
