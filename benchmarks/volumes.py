"""How fast volumes load, beside what does less: ``python benchmarks/volumes.py``.

All rivals take turns in one process, so that what slows the machine slows them alike;
a ratio is the median of the turns' own ratios, of CPU time. `HARM3_TEST_DATA` names the
folder of real files.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from isal import isal_zlib

from napari_harm3.mri.volume import Volume, read_nifti

TURNS = 41
DATA = Path(os.environ.get("HARM3_TEST_DATA", "../shared/data"))
VOLUMES = (
    "mri/longitudinal_ms12/study1_T2W.nii.gz",
    "mri/longitudinal_ms12/study1_FLAIR.nii.gz",
    "mri/tcga_lgg_FG6692/t1c.nii.gz",
    "mri/vs001_T1c_2x.nii.gz",
)

OURS = "read_nifti (checked, float32)"
STORED = "read_nifti, as stored"
HASHED = "read_nifti and its SHA-256"
INFLATE = "isal inflate of the bytes"
SIZED = "isal inflate, length known"
NIBABEL = "nibabel dataobj as float32"
FDATA = "nibabel get_fdata"
BARS = {INFLATE: "<= 1.3", NIBABEL: "<= 0.59 (1.7x)", FDATA: "<= 0.59 (1.7x)"}


def rivals(path: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name; each starts from the file."""
    length = len(isal_zlib.decompress(path.read_bytes(), 31))
    return {
        OURS: lambda: read_nifti(path).array,
        STORED: lambda: read_nifti(path),
        HASHED: lambda: hashed(read_nifti(path)),
        INFLATE: lambda: isal_zlib.decompress(path.read_bytes(), 31),
        SIZED: lambda: isal_zlib.decompress(path.read_bytes(), 31, length),
        NIBABEL: lambda: np.asarray(nib.load(path).dataobj, dtype=np.float32),
        FDATA: lambda: nib.load(path).get_fdata(dtype=np.float32),
    }


def hashed(volume: Volume) -> tuple[np.ndarray, str]:
    return volume.array, volume.sha256


def interleaved(
    functions: Mapping[str, Callable[[], object]], turns: int = TURNS
) -> dict[str, list[float]]:
    """Return each function's CPU seconds in every turn, after one turn to warm up."""
    spent: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.process_time()
            result = function()
            end = time.process_time()
            del result
            if turn:
                spent[name].append(end - start)
    return spent


def loading() -> list[str]:
    """Return the rows of the table of loading."""
    rows = ["| file | what | CPU ms | ours / it | bar |", "|---|---|---|---|---|"]
    for name in VOLUMES:
        spent = interleaved(rivals(DATA / name))
        for what, seconds in spent.items():
            pairs = zip(spent[OURS], seconds, strict=True)
            ratio = median(mine / other for mine, other in pairs)
            rows.append(
                f"| {Path(name).name} | {what} | {1000 * median(seconds):.1f} "
                f"| {ratio:.2f} | {BARS.get(what, '')} |"
            )
    return rows


if __name__ == "__main__":
    if not DATA.exists():
        sys.exit("HARM3_TEST_DATA names no folder of real files")
    print("\n".join(loading()))
