"""Figures of a heat map against a mask: plain arrays in, numbers out.

Every figure is of voxels that the model saw; whoever calls leaves the others out. A
figure that an empty mask or an empty map does not define is refused by the caller.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

BARELY = 1e-6
"""A place by so little beyond a border counts as on it."""

MOST_POINTS = 20_000
"""Voxels, evenly taken, of which a mean distance is measured."""


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


def iou_name(dice_name: str) -> str:
    """Return what the IoU at the same threshold is called."""
    return dice_name.replace("dice", "iou")


def widened(
    mask: Bool[np.ndarray, "X Y Z"], edges: Float[np.ndarray, "3 3"]
) -> Bool[np.ndarray, "X Y Z"]:
    """Return a mask grown by a box around each of its voxels.

    Parameters
    ----------
    mask
        Any voxels.
    edges
        Columns are the half edges of the box, in voxels; it may be tilted.
    """
    reach = np.floor(np.abs(edges).sum(axis=1) + BARELY).astype(int)
    reach = np.minimum(reach, np.array(mask.shape) - 1)
    offsets = np.indices(2 * reach + 1) - reach[:, None, None, None]
    along = np.tensordot(np.linalg.inv(edges), offsets, axes=1)
    box = (np.abs(along) <= 1 + BARELY).all(axis=0)
    grown, near = np.zeros_like(mask), _about(mask, reach)
    # Each voxel counts the marked ones in its box.
    counts = fftconvolve(mask[near].astype(float), box.astype(float), mode="same")
    grown[near] = counts > 0.5
    return grown


def _about(
    mask: Bool[np.ndarray, "X Y Z"], margin: Int[np.ndarray, "3"]
) -> tuple[slice, ...]:
    """Return the box of what is marked, and so many voxels around it.

    A lesion is a thousandth of a volume: what looks at neighbours looks there alone.
    """
    box = ndimage.find_objects(mask.view(np.int8))
    return tuple(
        slice(max(along.start - more, 0), along.stop + more)
        for along, more in zip(box[0] if box else (), margin.tolist(), strict=False)
    )


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
        surface, box = mask.copy(), _about(mask, np.ones(3, int))
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
        # One pass over the voxels: single precision is enough along a row of them.
        along_x, along_y, along_z = map(np.arange, heat.shape)
        row = np.stack([np.ones(len(along_z)), along_z], axis=1).astype(heat.dtype)
        rows, z = np.moveaxis((heat @ row).astype(np.float64), -1, 0)
        sums = [(rows.T @ along_x).sum(), (rows @ along_y).sum(), z.sum()]
        centre = np.array([sums]) / rows.sum()
        return float(np.linalg.norm(self._mm(centre)[0] - self._centre))

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
