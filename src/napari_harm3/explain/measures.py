"""Figures of a heat map against a mask: plain arrays in, numbers out.

Every figure is of voxels that the model saw; whoever calls leaves the others out. A
figure that an empty mask or an empty map does not define is refused by the caller.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree

BINS = 1 << 16
"""Levels between a map's least and its greatest value."""

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
    """Voxels from a threshold upwards, at the thresholds where the mask has some."""

    own: Int[np.ndarray, "g"]
    """Of the mask, at this threshold."""

    marked: Int[np.ndarray, "g"]
    """Of the mask, from it upwards."""

    here: Int[np.ndarray, "g"]
    """All, at this threshold."""

    taken: Int[np.ndarray, "g"]
    """All, from it upwards."""

    level: Int[np.ndarray, "g"]


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
    levels = _levels(heat)
    own = heat[mask]
    every = np.bincount(levels, minlength=BINS)
    counts = _from_above(every, np.bincount(levels[mask], minlength=BINS))
    unsure = counts.here > 1
    if every[0] == np.count_nonzero(heat == heat.min()):  # all of them tied
        unsure &= counts.level > 0
    unsure = _matters(counts, unsure, tolerance)
    if unsure.any():
        split = np.zeros(BINS, bool)
        split[counts.level[unsure]] = True
        among = np.flatnonzero(split[levels])
        varied = _varied(heat[among], levels[among])
        if varied.any():
            among = among[varied[levels[among]]]
            counts = _split(counts, heat[among], mask[among], varied)
    total, size = own.size, heat.size
    best = int(np.argmax(counts.marked / (counts.taken + total)))
    lower = total - int(counts.marked[best])
    beside = counts.here - counts.own
    above = counts.taken - counts.marked - beside
    lost = counts.own @ (above + beside / 2) / total / (size - total)
    return Ranking(
        auc=float(1 - lost),
        ap=float(counts.own @ (counts.marked / counts.taken) / total),
        best_dice=float(2 * counts.marked[best] / (counts.taken[best] + total)),
        threshold=float(np.partition(own, lower)[lower]),
    )


def _levels(heat: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Return the level of each voxel."""
    least, most = heat.min(), heat.max()
    if least == most:
        return np.zeros(heat.shape, np.intp)
    scaled = heat - least
    scaled /= most - least
    scaled *= BINS - 1.5  # half a level less: rounding never gets beyond the last
    # It is monotone, so that levels are ordered as the values are.
    return np.ceil(scaled, out=scaled).astype(np.intp)


def _from_above(every: Int[np.ndarray, "l"], hits: Int[np.ndarray, "l"]) -> _Counts:
    """Return the counts at the levels with voxels of the mask, the highest first.

    No figure needs the others: Dice is best at the value of a voxel of the mask.
    """
    holds = np.flatnonzero(hits)[::-1]
    up_to = np.cumsum(every)
    return _Counts(
        own=hits[holds],
        marked=np.cumsum(hits[holds]),
        here=every[holds],
        taken=up_to[-1] - up_to[holds] + every[holds],
        level=holds,
    )


def _matters(
    counts: _Counts, unsure: Bool[np.ndarray, "g"], tolerance: float
) -> Bool[np.ndarray, "g"]:
    """Return which unsure levels must be sorted for figures within a tolerance."""
    own, marked, taken = counts.own, counts.marked, counts.taken
    total, others = marked[-1], counts.here - own
    above = taken - counts.here
    # All of the mask first within its level, or all of it last.
    first = marked / (above + own)
    last = (marked - own + 1) / (above + others + 1)
    dice = 2 * marked / (above + own + total) - (2 * marked / (taken + total)).max()
    auc = own * others / 2 / max(int(taken[-1] - total), 1)
    block = marked / taken  # what is counted lies between the two
    ap = own * np.maximum(first - block, block - last)
    left_open = unsure * np.maximum(auc, ap) / total
    matters = unsure & (dice > tolerance)
    if left_open.sum() > tolerance:
        # The smallest may stay as they are, as long as their sum is small.
        most = float(left_open.max()) if tolerance else 0.0
        while left_open[left_open <= most].sum() > tolerance:
            most /= 4
        matters |= left_open > most
    return matters


def _varied(
    values: Float[np.ndarray, "m"], level: Int[np.ndarray, "m"]
) -> Bool[np.ndarray, "l"]:
    """Return which levels hold several values: of one alone, all is known."""
    one = np.zeros(BINS, values.dtype)
    one[level] = values
    varied = np.zeros(BINS, bool)
    varied[level[values != one[level]]] = True
    return varied


def _split(
    counts: _Counts,
    values: Float[np.ndarray, "m"],
    marked: Bool[np.ndarray, "m"],
    varied: Bool[np.ndarray, "l"],
) -> _Counts:
    """Return counts in which the varied levels, whose voxels are given, are values."""
    whole, apart = ~varied[counts.level], varied[counts.level]
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
        own=np.append(counts.own[whole], own),
        marked=np.append(counts.marked[whole], own.sum() - own_first + more_own),
        here=np.append(counts.here[whole], here[at]),
        taken=np.append(counts.taken[whole], taken + more),
        level=np.append(counts.level[whole], counts.level[apart][level]),
    )


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
