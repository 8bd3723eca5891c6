"""Arrays between two processes: ``.npy`` files that the other side maps."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

KEY = "npy"


def put_arrays(value: Any, folder: Path) -> Any:
    """Return a result with its arrays written to files and named in their place."""
    if isinstance(value, np.ndarray):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(list(folder.iterdir()))}.npy"
        np.save(path, value)
        return {KEY: str(path)}
    if isinstance(value, dict):
        return {name: put_arrays(one, folder) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [put_arrays(one, folder) for one in value]
    return value


def take_arrays(value: Any) -> Any:
    """Return a result with its files mapped into memory, read-only."""
    if isinstance(value, dict):
        if set(value) == {KEY}:
            return np.load(value[KEY], mmap_mode="r")
        return {name: take_arrays(one) for name, one in value.items()}
    if isinstance(value, list):
        return [take_arrays(one) for one in value]
    return value


def remove_arrays(folder: Path) -> None:
    """Delete the files of an answer, or all that an earlier worker left."""
    shutil.rmtree(folder, ignore_errors=True)
