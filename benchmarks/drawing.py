"""A heat map on a volume's own grid: ours and scipy's, interleaved.

    OMP_NUM_THREADS=1 python benchmarks/drawing.py VOLUME.nii.gz ... [--rounds 5]

The map has the cells of size ``full`` on a grid that shows the volume. The rival is
`scipy.ndimage.affine_transform`, with the field of view cut out afterwards. What is
told is the median CPU time, the median of each round's ratio, and the greatest
difference of voxels that do not lie on the border of the field of view.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from scipy import ndimage

from napari_harm3.explain.cells import CellGrid, Centres, cell_grid, drawn
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.preprocess import common_grid
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import Volume

CELLS = (8, 16, 16)
BORDER = 1e-6


def depth_of(cells: CellGrid, volume: Volume) -> np.ndarray:
    """Return how many cells inside the field of view each voxel lies."""
    matrix = np.linalg.inv(cells.affine) @ volume.affine
    i, j, k = np.ogrid[tuple(map(slice, volume.shape))]
    depth = np.full(volume.shape, np.inf)
    for row, first, last in zip(matrix, *cells.view, strict=False):
        place = row[0] * i + row[1] * j + row[2] * k + row[3]
        depth = np.minimum(depth, np.minimum(place - first, last - place))
    return depth


def scipy_s(cam: np.ndarray, cells: CellGrid, volume: Volume) -> np.ndarray:
    matrix = np.linalg.inv(cells.affine) @ volume.affine
    field = ndimage.affine_transform(
        cam,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=volume.shape,
        order=1,
        mode="nearest",
    )
    return np.where(depth_of(cells, volume) >= 0, field, 0)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volumes", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    config = MriConfig()
    step = np.array(config.size) / CELLS
    centres = Centres(start=(0.0, 0.0, 0.0), step=tuple(step.tolist()))
    cam = np.random.default_rng(0).random(CELLS, dtype=np.float32)
    print(
        "| volume | ours, ms | scipy, ms | ratio | difference |\n|---|---|---|---|---|"
    )
    for path in arguments.volumes:
        volume = read_volume(path)
        cells = cell_grid(CELLS, config.size, common_grid(volume, config), centres)
        inner = np.abs(depth_of(cells, volume)) > BORDER
        apart = np.abs(drawn(cam, cells, volume) - scipy_s(cam, cells, volume))[inner]
        spent = [
            (
                seconds(lambda v=volume, c=cells: drawn(cam, c, v)),
                seconds(lambda v=volume, c=cells: scipy_s(cam, c, v)),
            )
            for _ in range(arguments.rounds)
        ]
        ours, theirs = (1000 * median(side) for side in zip(*spent, strict=True))
        ratio = median(b / a for a, b in spent)
        print(
            f"| {path.name} | {ours:.0f} | {theirs:.0f} | {ratio:.1f} "
            f"| {apart.max():.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
