"""File to model-ready tensor: ours, MONAI and TorchIO in one interleaved run.

    OMP_NUM_THREADS=1 python benchmarks/tensors.py VOLUME.nii.gz ... [--spacing 1 1 1]

Each reads the same file, brings it to the same voxel spacing in the patient's axes and
normalises it to zero mean and unit spread; what is told is the median time over the
rounds, by the clock and of the processors. Ours works in one thread; the rivals have
as many as `--threads` says. Ours checks the whole stream's CRC besides and hashes the
file. It is run twice: onto a grid that holds the volume's whole box, as the rivals do,
and onto the grid that the network takes. Beside each stands its time in times of
inflating the bytes with isal.

A cached case is timed after that: `load_mri` of what `prepare_mri` wrote.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import torch
from isal import isal_zlib

from napari_harm3.cohort.case import Case
from napari_harm3.data.prepare import load_mri, prepare_mri
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.preprocess import prepare_volumes
from napari_harm3.mri.reading import read_volume

INFLATE = "isal inflate alone"


def ours(path: Path, config: MriConfig) -> torch.Tensor:
    prepared = prepare_volumes({"t1_pre": read_volume(path)}, config)
    return torch.from_numpy(prepared.array[0, 0])


def monai_chain(spacing: tuple[float, ...]) -> Callable[[Path], torch.Tensor]:
    from monai.transforms import (
        Compose,
        EnsureChannelFirst,
        LoadImage,
        NormalizeIntensity,
        Orientation,
        Spacing,
    )

    chain = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Orientation(axcodes="RAS"),
            Spacing(pixdim=spacing, mode="bilinear"),
            NormalizeIntensity(),
        ]
    )
    return lambda path: chain(str(path))


def torchio_chain(spacing: tuple[float, ...]) -> Callable[[Path], torch.Tensor]:
    import torchio

    chain = torchio.Compose(
        [
            torchio.ToCanonical(),
            torchio.Resample(spacing),
            torchio.ZNormalization(),
        ]
    )
    return lambda path: chain(torchio.ScalarImage(path)).data


def spent_ms(work: Callable[[], object]) -> tuple[float, float]:
    """Return the time by the clock, and that of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def grid_for(path: Path, spacing: tuple[float, ...]) -> MriConfig:
    """Return a grid that holds the volume's whole box, so that all do equal work."""
    image = nibabel.load(path)
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape[:3]], [1]))
    corners = (image.affine @ ends.reshape(4, -1))[:3]
    size = np.ceil(np.ptp(corners, axis=1) / spacing).astype(int) + 1
    return MriConfig(
        size=tuple(int(n) for n in size[::-1]),
        spacing_mm=tuple(float(s) for s in spacing[::-1]),
        crop="none",
    )


def compare(path: Path, spacing: tuple[float, ...], rounds: int) -> None:
    whole = grid_for(path, spacing)
    chains = {
        "ours, whole box": lambda p: ours(p, whole),
        "ours, model's grid": lambda p: ours(p, MriConfig()),
        "MONAI": monai_chain(spacing),
        "TorchIO": torchio_chain(spacing),
        INFLATE: lambda p: isal_zlib.decompress(p.read_bytes(), 31),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chains}
    for turn in range(rounds + 1):
        for name, chain in chains.items():
            spent = spent_ms(lambda chain=chain: chain(path))
            if turn:  # the first turn warms up
                times[name].append(spent)
    medians = {name: np.median(spent, axis=0) for name, spent in times.items()}
    print(f"{path.name}, {nibabel.load(path).shape}, to {spacing} mm")
    for number, clock in enumerate(("wall", "CPU")):
        for name, median in medians.items():
            line = f"  {clock:4s} {name:20s} {median[number]:8.1f} ms"
            for rival in ("MONAI", "TorchIO"):
                line += f"  {medians[rival][number] / median[number]:6.1f}x {rival}"
            inflating = median[number] / medians[INFLATE][number]
            print(f"{line}  {inflating:5.1f}x inflating")


def cached(paths: list[Path], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        roles = ("t1_pre", "t1_post", "t2_pre", "t2_post")
        case = Case(
            case_id="A", row=2, volumes=dict(zip(roles, paths[:1] * 4, strict=True))
        )
        made = prepare_mri(case, MriConfig(), Path(folder))
        spent = []
        for _ in range(50 * rounds):
            begin = time.perf_counter()
            load_mri(made)
            spent.append(1000 * (time.perf_counter() - begin))
    print(f"cached case of four volumes: {np.median(spent):.3f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volumes", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.75, 1.75, 4.0))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    for path in arguments.volumes:
        compare(path, tuple(arguments.spacing), arguments.rounds)
    cached(arguments.volumes, arguments.rounds)


if __name__ == "__main__":
    main()
