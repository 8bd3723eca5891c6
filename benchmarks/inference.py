"""What a prediction takes once volumes and features lie in the cache.

    python benchmarks/inference.py [--sizes small full] [--patches 4000] [--threads 2]

Every method that can be trained, with drawn weights, is asked for one case: by the
clock, the median of some turns, for one network. A run of five folds asks five of a new
case, and one of a case of its own cohort. Reading the cache is told apart: four
volumes, mapped from a file, and the patches of a bag in half precision.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch

from napari_harm3.data.config import InputConfig
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import CLINICAL_EXAMPLE, MODELS, build_model

BARS = {"small": 1.0, "full": 15.0}
"""Seconds."""

PATCH_WIDTH = {"small": 192, "full": 768}
"""Of the encoder that is each size's own."""


def case(size: str, patches: int) -> CaseBatch:
    torch.manual_seed(0)
    one = torch.ones(1, dtype=torch.bool)
    return CaseBatch(
        mri=torch.randn(1, 2, 2, 1, *InputConfig.of_size(size).mri.size),
        mri_avail=one[:, None, None].repeat(1, 2, 2),
        wsi=torch.randn(1, patches, PATCH_WIDTH[size]),
        wsi_mask=one[:, None].repeat(1, patches),
        wsi_coords=112 * torch.randint(0, 100, (1, patches, 2)).float(),
        wsi_avail=one,
        label=torch.full((1,), torch.nan),
        aligned=one,
        clinical=torch.randn(1, CLINICAL_EXAMPLE),
    )


def seconds(work: Callable[[], object], turns: int) -> float:
    """Return the median time by the clock, the first turn apart."""
    spent = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent[1:])


def read_cache(size: str, patches: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        volumes, bag = Path(folder) / "volumes.npy", Path(folder) / "bag.h5"
        np.save(volumes, case(size, 1).mri.numpy())
        features = np.random.default_rng(0).random((patches, PATCH_WIDTH[size]))
        with h5py.File(bag, "w") as file:
            file.create_dataset(
                "features", data=features.astype(np.float16), fletcher32=True
            )

        def read() -> None:
            np.array(np.load(volumes, mmap_mode="r"))
            with h5py.File(bag) as file:
                file["features"][:].astype(np.float32)

        return seconds(read, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["small", "full"])
    parser.add_argument("--methods", nargs="+", default=[])
    parser.add_argument("--patches", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    networks = [name for name, entry in MODELS.items() if entry.group != "reference"]
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    print("| size | method | ms | bar, ms |\n|---|---|---|---|")
    for size in arguments.sizes:
        batch, bar = case(size, arguments.patches), 1000 * BARS[size]
        volume_size = InputConfig.of_size(size).mri.size
        for name in arguments.methods or networks:
            network = build_model(
                name,
                MODELS[name].sizes[size],
                volume_size=volume_size,
                patch_width=PATCH_WIDTH[size],
                clinical_width=CLINICAL_EXAMPLE,
            ).eval()
            with torch.inference_mode():
                spent = 1000 * seconds(partial(network, batch), arguments.turns)
            print(f"| {size} | {name} | {spent:.0f} | < {bar:.0f} |", flush=True)
        spent = 1000 * read_cache(size, arguments.patches)
        print(f"| {size} | reading the cache | {spent:.1f} | |", flush=True)


if __name__ == "__main__":
    main()
