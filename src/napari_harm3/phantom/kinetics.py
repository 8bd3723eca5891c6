"""How lesions answer to treatment: as those of real patients do.

Among head-and-neck cancers annotated before and during radiotherapy, the volume that
is left is half of what it was in the median, between a seventh and five sixths of it.
Three in ten lesions go altogether.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

BLOCK = 10
"""Cases that share quotas. A case depends on its block and on nothing later, so that
a cohort can be extended."""

PCR = 3
"""Cases of a block that reach pCR, and lesions of it that go altogether."""

DISCORDANT = 0.5
"""Share of the blocks in which a pCR case keeps a remnant and another case does not:
that nothing is left to be seen is an imaging response, never the label."""

REMNANT = ((0.0, 0.5, 1.0), (0.15, 0.52, 0.84))
"""Quantiles of the volume left, as a share of that before, where any is left."""

RESPONDER_SHIFT = 1.53
"""Distance of the classes in the latent share of responder patches, in standard
deviations; as far as in the made-up cohort."""

MOST_RESPONDERS = 0.6


@dataclass(frozen=True, kw_only=True)
class Response:
    """What becomes of a case."""

    pcr: int
    """The label."""

    ratio: float
    """Volume of the lesions after treatment as a share of that before."""

    responders: float
    """Share of the slide's patches that show the responder pattern."""


def draw_response(
    seed: int, index: int, *, null: bool = False, unchanged: bool = False
) -> Response:
    """Return the response of a case.

    Parameters
    ----------
    seed, index
        Of the cohort, and of the case in it.
    null
        Neither volume nor slide depends on the label.
    unchanged
        The same, and the lesion stays as it was.
    """
    block, place = divmod(index, BLOCK)
    rng = np.random.default_rng([seed, block, 201])
    pcr = rng.permutation(BLOCK) < PCR
    # Drawn in any case, so that the labels do not depend on what is asked for.
    regardless = rng.permutation(pcr)
    responds = regardless if null or unchanged else pcr
    gone = responds.copy()
    swapped = rng.integers(PCR), rng.integers(BLOCK - PCR)
    if rng.random() < DISCORDANT:
        gone[np.flatnonzero(responds)[swapped[0]]] = False
        gone[np.flatnonzero(~responds)[swapped[1]]] = True
    quantile = _quantiles(rng, responds, gone)
    latent = rng.normal(size=BLOCK) + RESPONDER_SHIFT * (responds - 0.5)
    remnant = float(np.interp(quantile[place], *REMNANT))
    return Response(
        pcr=int(pcr[place]),
        ratio=1.0 if unchanged else 0.0 if gone[place] else remnant,
        responders=MOST_RESPONDERS * float(ndtr(latent[place])),
    )


def _quantiles(
    rng: np.random.Generator,
    responds: Bool[np.ndarray, "cases"],
    gone: Bool[np.ndarray, "cases"],
) -> Float[np.ndarray, "cases"]:
    """Return where each remnant of a block stands among all: one in each equal share.

    A remnant of a case that responds is in the lower half.
    """
    left = np.flatnonzero(~gone)
    quantile = np.zeros(BLOCK)
    quantile[left] = (rng.permutation(len(left)) + rng.random(len(left))) / len(left)
    for case in np.flatnonzero(responds & ~gone):
        if quantile[case] > 0.5:
            least = left[quantile[left].argmin()]
            quantile[[case, least]] = quantile[[least, case]]
    return quantile
