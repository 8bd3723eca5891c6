"""Figures of a heat map against a mask: plain arrays in, numbers out.

Every figure is of voxels that the model saw; whoever calls leaves the others out. A
figure that an empty mask or an empty map does not define is refused by the caller.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_harm3.mri.levels import LEVELS, level_counts

BINS = LEVELS // 2
"""Levels between a map's least and its greatest value, told apart by the mask."""

STEP = 1 << 15
"""Voxels whose levels are worked out at a time: they stay in the processor's cache."""

TOLERANCE = 1e-4
"""Most that AUC, AP and best Dice may be off."""

MOST_POINTS = 20_000
"""Voxels, evenly taken, of which a mean distance is measured."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What the order of a map's voxels says of a mask."""

    auc: float
    """Area under the ROC curve; a tie counts half."""

    ap: float
    """Average precision: no interpolation, voxels of one value enter together."""

    best_dice: float
    """Over all thresholds."""

    threshold: float
    """The least value that is marked at the best Dice."""


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
    best = int(np.argmax(counts.dice))
    return Ranking(
        auc=float(1 - lost),
        ap=float(counts.own @ counts.precision / total),
        best_dice=float(counts.dice[best]),
        threshold=_threshold(counts, best, heat, codes),
    )


def _codes(
    heat: Float[np.ndarray, "n"], mask: Bool[np.ndarray, "n"]
) -> UInt16[np.ndarray, "n"]:
    """Return twice the level of each voxel, and one more where the mask is."""
    codes = np.empty(heat.shape, np.uint16)
    least, most = heat.min(), heat.max()
    span = most - least or 1
    for start in range(0, heat.size, STEP):
        part = slice(start, start + STEP)
        scaled = heat[part] - least
        scaled /= span
        scaled *= BINS - 1.5  # half a level less: rounding never gets beyond the last
        # It is monotone, so that levels are ordered as the values are.
        codes[part] = np.ceil(scaled, out=scaled)
        codes[part] <<= 1
        codes[part] |= mask[part]
    return codes


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


def _threshold(
    counts: _Counts,
    which: int,
    heat: Float[np.ndarray, "n"],
    codes: UInt16[np.ndarray, "n"],
) -> float:
    """Return the least value of the mask that is marked at one of the thresholds."""
    level = counts.level[which]
    own = heat[codes == 2 * int(level) + 1]
    marked = int(counts.marked[which] - counts.own[counts.level > level].sum())
    return float(np.partition(own, -marked)[-marked])


def _grouped(
    ordered: Float[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "u"], Int[np.ndarray, "u"], Int[np.ndarray, "u"]]:
    """Return the values of a sorted array, where each begins, and how often it is."""
    first = np.flatnonzero(np.append(ordered.size > 0, ordered[1:] != ordered[:-1]))
    return ordered[first], first, np.diff(first, append=ordered.size)


def pointing_game(
    heat: Float[np.ndarray, "*voxels"], mask: Bool[np.ndarray, "*voxels"]
) -> float:
    """Return the share of the map's highest voxels that lie in the annotation."""
    peak = heat.max()
    return float(mask[heat == peak].mean()) if peak > 0 else 0.0


def energy(
    heat: Float[np.ndarray, "*voxels"], mask: Bool[np.ndarray, "*voxels"]
) -> float:
    """Return the share of the map's sum that lies in the annotation."""
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def dice(one: Bool[np.ndarray, "*voxels"], other: Bool[np.ndarray, "*voxels"]) -> float:
    """Return twice the overlap over the sum of both."""
    both = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / both if both else 0.0


def iou_of(dice_value: float) -> float:
    """Return the intersection over union that belongs to a Dice."""
    return dice_value / (2 - dice_value)


def widened(
    mask: Bool[np.ndarray, "X Y Z"], edges: Float[np.ndarray, "3 3"]
) -> Bool[np.ndarray, "X Y Z"]:
    """Return a mask grown by a box around each of its voxels.

    Parameters
    ----------
    mask
        Any voxels.
    edges
        Columns are the half edges of the box, in voxels; on a tilted grid each is
        followed to the nearest voxel.
    """
    grown = mask
    for edge in edges.T:
        steps = int(np.ceil(np.abs(edge).max()))
        reach = int(np.floor(np.abs(edge).max() + 1e-6))
        if not reach:
            continue
        # Half a voxel at a time, up to the last whole one.
        offsets = {
            tuple(np.rint(edge * part).astype(int))
            for part in np.linspace(-reach, reach, 2 * steps + 1) / np.abs(edge).max()
        }
        grown = _moved_over(grown, offsets)
    if np.count_nonzero(np.abs(edges) > 1e-6) > 3:
        # Stepped lines side by side leave single voxels out.
        box = _about(grown, 2)
        grown = grown.copy()
        grown[box] |= ndimage.binary_closing(grown[box], np.ones((3, 3, 3)))
    return grown


def _about(mask: Bool[np.ndarray, "X Y Z"], margin: int) -> tuple[slice, ...]:
    """Return the box of what is marked, and so many voxels around it.

    A lesion is a thousandth of a volume: what looks at neighbours looks there alone.
    """
    box = ndimage.find_objects(mask.view(np.int8))
    return tuple(
        slice(max(along.start - margin, 0), along.stop + margin)
        for along in (box[0] if box else ())
    )


def _moved_over(
    mask: Bool[np.ndarray, "X Y Z"], offsets: set[tuple[int, ...]]
) -> Bool[np.ndarray, "X Y Z"]:
    """Return the union of a mask moved by each offset."""
    box = _about(mask, 0)
    union = np.zeros_like(mask)
    if not box:
        return union
    part = mask[box]
    start = np.array([along.start for along in box])
    for offset in offsets:
        low = start + offset
        high = low + part.shape
        inner = np.clip(-low, 0, part.shape)
        outer = part.shape - np.clip(high - mask.shape, 0, part.shape)
        target = tuple(
            slice(a, max(a, b)) for a, b in zip(low + inner, low + outer, strict=True)
        )
        source = tuple(slice(a, max(a, b)) for a, b in zip(inner, outer, strict=True))
        union[target] |= part[source]
    return union


class Places:
    """Where a mask's voxels are, to measure distances to it in mm.

    Parameters
    ----------
    mask
        Not empty.
    affine
        From array indices to mm.
    """

    def __init__(
        self, mask: Bool[np.ndarray, "X Y Z"], affine: Float[np.ndarray, "4 4"]
    ) -> None:
        self.mask, self.affine = mask, affine
        # Whoever is outside is nearest to a voxel of the surface.
        surface, box = mask.copy(), _about(mask, 1)
        surface[box] &= ~ndimage.binary_erosion(mask[box])
        self._tree = cKDTree(self._mm(_indices(surface)))
        self._centre = self._mm(_indices(mask)).mean(axis=0)

    def distance(self, among: Bool[np.ndarray, "X Y Z"]) -> float:
        """Return the mean distance of voxels to the nearest of the mask, in mm."""
        index = _indices(among, most=MOST_POINTS)
        distances, _ = self._tree.query(self._mm(index))
        return float(np.where(self.mask[tuple(index.T)], 0, distances).mean())

    def centre_distance(self, heat: Float[np.ndarray, "X Y Z"]) -> float:
        """Return how far the map's centre of mass is from the mask's, in mm."""
        total = heat.sum(dtype=np.float64)
        centre = [
            heat.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64)
            @ np.arange(heat.shape[axis])
            / total
            for axis in range(3)
        ]
        return float(np.linalg.norm(self._mm(np.array([centre]))[0] - self._centre))

    def _mm(
        self, index: Int[np.ndarray, "m 3"] | Float[np.ndarray, "m 3"]
    ) -> Float[np.ndarray, "m 3"]:
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])


def _indices(
    mask: Bool[np.ndarray, "X Y Z"], *, most: int | None = None
) -> Int[np.ndarray, "m 3"]:
    """Return the marked voxels, every few of them if there are more than asked for.

    A tenth of the time of `numpy.argwhere` where a large volume has few.
    """
    flat = np.flatnonzero(mask)
    if most:
        flat = flat[:: max(-(-len(flat) // most), 1)]
    return np.stack(np.unravel_index(flat, mask.shape), axis=1)
