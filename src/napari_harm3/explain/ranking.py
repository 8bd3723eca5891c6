"""What the order of a map's voxels says of a mask: AUC, AP and best Dice at once.

Voxels are counted, not sorted; only where the count leaves a figure open are they.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

from napari_harm3.mri.counting import LEVELS, level_counts

BINS = LEVELS // 2
"""Levels between a map's least and its greatest value, told apart by the mask."""

STEP = 1 << 15
"""Voxels whose levels are worked out at a time: they stay in the processor's cache."""

SAMPLE = 4096
"""Voxels, evenly taken, that tell how the values of a map are spread."""

CROWDED = 0.1
"""A median below this share of the greatest value leaves too many voxels to a level."""

TOLERANCE = 1e-4
"""Most that AUC, AP and best Dice may be off."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What the order of a map's voxels says of a mask."""

    auc: float
    """Area under the ROC curve; a tie counts half."""

    ap: float
    """Average precision: no interpolation, voxels of one value enter together."""

    best_dice: float
    """Over all thresholds."""


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Voxels from a threshold upwards, at the thresholds where the mask has some.

    Whole numbers, as floats: what is made of them are quotients.
    """

    own: Float[np.ndarray, "g"]
    """Of the mask, at this threshold."""

    marked: Float[np.ndarray, "g"]
    """Of the mask, from it upwards."""

    here: Float[np.ndarray, "g"]
    """All, at this threshold."""

    taken: Float[np.ndarray, "g"]
    """All, from it upwards."""

    level: Int[np.ndarray, "g"]
    tied: Bool[np.ndarray, "g"]
    """Where all voxels at a threshold are known to have one value."""

    @cached_property
    def precisions(self) -> tuple[Float[np.ndarray, "g"], Float[np.ndarray, "g"]]:
        """Return the least and the greatest mean precision over a threshold's mask.

        The order within it decides: all of the mask last, or all of it first.
        """
        before = self.own - 1
        last = (self.marked - before) / (self.taken - before)
        return last, self.marked / (self.taken - (self.here - self.own))

    @cached_property
    def precision(self) -> Float[np.ndarray, "g"]:
        """Return the mean precision over a threshold's mask: half way, if not known."""
        last, first = self.precisions
        return np.where(self.tied, self.marked / self.taken, (first + last) / 2)

    @cached_property
    def dice(self) -> Float[np.ndarray, "g"]:
        """Return twice the overlap of what is marked and the mask, over their sum."""
        return 2 * self.marked / (self.taken + self.own.sum())


def ranking(
    heat: Float[np.ndarray, "n"],
    mask: Bool[np.ndarray, "n"],
    *,
    tolerance: float = TOLERANCE,
) -> Ranking:
    """Return AUC, AP and best Dice of a map, each off by ``tolerance`` at most.

    Voxels are counted in `BINS` levels, of which the lowest holds the least value
    alone. How far the order within a level could move each figure is known from the
    counts: the few levels that matter are sorted. Ties count as in scikit-learn.

    Parameters
    ----------
    heat
        Finite values of the voxels that the model saw.
    mask
        Neither empty nor full.
    tolerance
        Of zero: every figure is exact.
    """
    codes = _codes(heat, mask)
    counts = _from_above(*level_counts(codes).reshape(BINS, 2).T)
    if not counts.level[-1]:
        counts.tied[-1] = counts.here[-1] == np.count_nonzero(heat == heat.min())
    unsure = _matters(counts, tolerance)
    if unsure.any():
        counts = _resolved(counts, unsure, heat, codes)
    total, rest = counts.marked.max(), heat.size - counts.marked.max()
    beside = counts.here - counts.own
    above = counts.taken - counts.marked - beside
    lost = counts.own @ (above + beside / 2) / total / rest
    return Ranking(
        auc=float(1 - lost),
        ap=float(counts.own @ counts.precision / total),
        best_dice=float(counts.dice.max()),
    )


def _codes(
    heat: Float[np.ndarray, "n"], mask: Bool[np.ndarray, "n"]
) -> UInt16[np.ndarray, "n"]:
    """Return twice the level of each voxel, and one more where the mask is."""
    codes = np.empty(heat.shape, np.uint16)
    least, most = heat.min(), heat.max()
    span = most - least or 1
    roots = _roots((heat[:: heat.size // SAMPLE + 1] - least) / span)
    for start in range(0, heat.size, STEP):
        part = slice(start, start + STEP)
        scaled = heat[part] - least
        scaled /= span
        for _ in range(roots):
            np.sqrt(scaled, out=scaled)
        scaled *= BINS - 1.5  # half a level less: rounding never gets beyond the last
        # It is monotone, so that levels are ordered as the values are.
        codes[part] = np.ceil(scaled, out=scaled)
        codes[part] <<= 1
        codes[part] |= mask[part]
    return codes


def _roots(sample: Float[np.ndarray, "s"]) -> int:
    """Return how many square roots spread values between 0 and 1 over the levels.

    Most voxels of a map with a few high peaks would share the lowest levels.
    """
    above = sample[sample > 0]
    middle, roots = (np.median(above) if above.size else 1.0), 0
    while middle < CROWDED:
        middle, roots = np.sqrt(middle), roots + 1
    return roots


def _from_above(beside: Int[np.ndarray, "l"], own: Int[np.ndarray, "l"]) -> _Counts:
    """Return the counts at the levels with voxels of the mask, the highest first.

    No figure needs the others: Dice is best at the value of a voxel of the mask.
    """
    own, every = own[::-1], (own + beside)[::-1]
    holds = np.flatnonzero(own > 0)
    own, here = own[holds].astype(float), every[holds].astype(float)
    return _Counts(
        own=own,
        marked=np.cumsum(own),
        here=here,
        taken=np.cumsum(every)[holds].astype(float),
        level=BINS - 1 - holds,
        tied=here == 1,
    )


def _matters(counts: _Counts, tolerance: float) -> Bool[np.ndarray, "g"]:
    """Return which levels must be sorted for figures within a tolerance."""
    last, first = counts.precisions
    total, others = counts.marked[-1], counts.here - counts.own
    # What is told lies in the middle of what may be.
    auc = others / max(counts.taken[-1] - total, 1)
    left_open = counts.own * np.maximum(auc, first - last) / (2 * total)
    left_open[counts.tied] = 0
    dice = 2 * counts.marked / (counts.taken - others + total) - counts.dice.max()
    matters = (dice > tolerance) & ~counts.tied
    if left_open.sum() > tolerance:
        # The smallest may stay as they are, as long as their sum is small.
        most = float(left_open.max()) if tolerance else 0.0
        while left_open[left_open <= most].sum() > tolerance:
            most /= 4
        matters |= left_open > most
    return matters


def _resolved(
    counts: _Counts,
    unsure: Bool[np.ndarray, "g"],
    heat: Float[np.ndarray, "n"],
    codes: UInt16[np.ndarray, "n"],
) -> _Counts:
    """Return counts in which unsure levels are known to be tied, or taken apart."""
    wanted = np.zeros(BINS, bool)
    wanted[counts.level[unsure]] = True
    # Most often they are among the highest: what is below need not be looked up.
    there = np.flatnonzero(codes >= 2 * int(wanted.argmax()))
    there = there[wanted.take(codes.take(there) >> 1)]
    values, code = heat.take(there), codes.take(there)
    level = code >> 1
    one = np.zeros(BINS, values.dtype)
    one[level] = values
    varied = np.zeros(BINS, bool)
    varied[level[values != one.take(level)]] = True
    apart = varied[counts.level]
    counts = replace(counts, tied=counts.tied | (unsure & ~apart))
    if not apart.any():
        return counts
    there = varied.take(level)
    return _split(counts, apart, values[there], (code[there] & 1).astype(bool))


def _split(
    counts: _Counts,
    apart: Bool[np.ndarray, "g"],
    values: Float[np.ndarray, "m"],
    marked: Bool[np.ndarray, "m"],
) -> _Counts:
    """Return counts in which some levels, whose voxels are given, are values."""
    given, owned = np.cumsum(counts.here[apart]), np.cumsum(counts.own[apart])
    unique, first, here = _grouped(np.sort(values))
    own_values, own_first, own = _grouped(np.sort(values[marked]))
    at = np.searchsorted(unique, own_values)
    taken = values.size - first[at]
    level = np.searchsorted(given, taken)
    # Voxels that are not given, from each level upwards, lie above all of its values.
    more = (counts.taken[apart] - given)[level]
    more_own = (counts.marked[apart] - owned)[level]
    return _Counts(
        own=np.append(counts.own[~apart], own),
        marked=np.append(counts.marked[~apart], owned[-1] - own_first + more_own),
        here=np.append(counts.here[~apart], here[at]),
        taken=np.append(counts.taken[~apart], taken + more),
        level=np.append(counts.level[~apart], counts.level[apart][level]),
        tied=np.append(counts.tied[~apart], np.ones(len(own), bool)),
    )


def _grouped(
    ordered: Float[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "u"], Int[np.ndarray, "u"], Int[np.ndarray, "u"]]:
    """Return the values of a sorted array, where each begins, and how often it is."""
    first = np.flatnonzero(np.append(ordered.size > 0, ordered[1:] != ordered[:-1]))
    return ordered[first], first, np.diff(first, append=ordered.size)
