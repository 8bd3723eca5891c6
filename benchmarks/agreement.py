"""AUC, AP and best Dice of a 500,000-voxel map: ours and scikit-learn, interleaved.

    OMP_NUM_THREADS=1 python benchmarks/agreement.py [--rounds 9]

Ours is one call for the three figures; scikit-learn's are `roc_auc_score`,
`average_precision_score` and `precision_recall_curve`, whose best F1 is the best Dice.
Maps: cells of the registered sizes, upsampled as heat maps are, whole and rectified;
one of plain noise; and two whose levels have to be looked into: few values, and a
heavy tail. Lesions: 1 % of the voxels, as tumours are, and 20 %. What is told is the
median CPU time over the rounds, and the median of each round's ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn import metrics as sk

from napari_harm3.explain.cells import cell_grid, drawn
from napari_harm3.explain.ranking import ranking
from napari_harm3.mri.volume import Geometry

SHAPE = (50, 100, 100)
VOXELS = Geometry(shape=SHAPE, affine=np.eye(4))


def scikit_learn(heat: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    precision, recall, _ = sk.precision_recall_curve(mask, heat)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    auc = float(sk.roc_auc_score(mask, heat))
    return auc, float(sk.average_precision_score(mask, heat)), float(f1.max())


def ours(heat: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    found = ranking(heat, mask)
    return found.auc, found.ap, found.best_dice


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def lesion(share: float, rng: np.random.Generator) -> np.ndarray:
    """A ball with a rough surface."""
    place = np.indices(SHAPE) / np.array(SHAPE)[:, None, None, None] - 0.45
    distance = (place**2).sum(axis=0)
    distance *= 1 + 0.3 * gaussian_filter(rng.normal(size=SHAPE), 2) * 20
    return distance <= np.quantile(distance, share)


def maps(mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    place = gaussian_filter(mask.astype(float), 8)
    place /= place.max()
    made = {}
    for name, cells in (("3x4x4 cells", (3, 4, 4)), ("8x16x16 cells", (8, 16, 16))):
        centres = np.ix_(
            *[
                ((np.arange(n) + 0.5) / n * size).astype(int)
                for n, size in zip(cells, SHAPE, strict=True)
            ]
        )
        coarse = place[centres] + 0.4 * rng.normal(size=cells)
        grid = cell_grid(cells, SHAPE, np.eye(4))
        made[name] = drawn(coarse, grid, VOXELS)
        made[f"{name}, rectified"] = drawn(coarse.clip(0), grid, VOXELS)
    made["noise"] = rng.random(SHAPE)
    made["ten values"] = np.round(made["8x16x16 cells"] * 5) / 5
    made["heavy tail"] = rng.random(SHAPE) ** 8
    return {name: one.astype(np.float32).ravel() for name, one in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    print(
        f"{'lesion':>7} {'map':<26}{'sklearn':>9}{'ours':>9}{'times':>7}{'error':>10}"
    )
    for share in (0.01, 0.2):
        mask = lesion(share, rng)
        for name, heat in maps(mask, rng).items():
            flat = mask.ravel()
            told, expected = ours(heat, flat), scikit_learn(heat, flat)
            error = max(abs(a - b) for a, b in zip(told, expected, strict=True))
            pairs = [
                (
                    seconds(lambda h=heat, m=flat: scikit_learn(h, m)),
                    seconds(lambda h=heat, m=flat: ours(h, m)),
                )
                for _ in range(rounds)
            ]
            theirs, mine = (
                statistics.median(side) for side in zip(*pairs, strict=True)
            )
            times = statistics.median(a / b for a, b in pairs)
            print(
                f"{share:>7.0%} {name:<26}{theirs * 1e3:>7.0f}ms{mine * 1e3:>7.2f}ms"
                f"{times:>6.0f}x{error:>10.1e}"
            )


if __name__ == "__main__":
    main()
