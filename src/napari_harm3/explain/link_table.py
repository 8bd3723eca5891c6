"""The strongest links between slide and MRI as a table."""

from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.artifacts import write_csv
from napari_harm3.cohort.case import SEQUENCES, TIMES
from napari_harm3.explain.link import BOTH_TIMES, CaseLink

COLUMNS = (
    *("rank", "patch", "slide", "x", "y", "width", "height"),
    *("volume", "cell_z", "cell_y", "cell_x", "r_mm", "a_mm", "s_mm", "share", "lift"),
)
ORIGIN = "trained_on"
"""What the model that is asked has learned from."""


def link_rows(link: CaseLink, count: int = 100) -> list[dict[str, Any]]:
    """Return the strongest links, strongest first.

    Returns
    -------
    :
        Each with the patch (``slide``, level-0 ``x``, ``y``, ``width``, ``height``;
        None where its file does not say it), the cell (``volume``, a role, or a
        sequence where its times were added up; ``cell_z`` and so on; its centre
        in RAS mm of that volume's own space, or of the common one for a sequence), its
        ``share`` of all links and the ``lift``, how many times more that is than if
        patch and cell had nothing to do with each other.
    """
    pairs, shares, lifts = link.strongest(count)
    rows = []
    numbered = zip(pairs.tolist(), shares.tolist(), lifts.tolist(), strict=True)
    for rank, ((patch, token), share, lift) in enumerate(numbered, start=1):
        box = [None if np.isnan(one) else one for one in link.places.box(patch)]
        sequence, time, *cell = link.layout[token].tolist()
        volume, affine = SEQUENCES[sequence], link.affine
        if time != BOTH_TIMES:
            volume = f"{SEQUENCES[sequence]}_{TIMES[time]}"
            affine = link.cell_affine(volume)
        centre = affine[:3, :3] @ np.array(cell) + affine[:3, 3]
        name = link.places.names[link.places.slide[patch]]
        found = (rank, patch, name, *box, volume, *cell, *centre.tolist(), share, lift)
        rows.append(dict(zip(COLUMNS, found, strict=True)))
    return rows


def write_link_csv(
    path: Path, link: CaseLink, *, trained_on: str, count: int = 100
) -> None:
    """Write the strongest links as CSV, atomically; each says whose model it is of."""
    rows = [row | {ORIGIN: trained_on} for row in link_rows(link, count)]
    write_csv(path, rows, (*COLUMNS, ORIGIN))
