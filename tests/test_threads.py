"""Commands and the worker leave the cores to others while they wait."""

import os
import subprocess
import sys

import pytest

COUNT = """
import numpy, scipy.linalg, threadpoolctl
pools = threadpoolctl.threadpool_info()
pools = [pool["num_threads"] for pool in pools if pool["internal_api"] == "openblas"]
print(max(pools, default=1))
"""


def threads_of_blas(module, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    told = subprocess.run(
        [sys.executable, "-c", f"import {module}{COUNT}"],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout)


@pytest.mark.parametrize(
    "module", ["napari_harm3.cli.main", "napari_harm3.worker.__main__"]
)
def test_numpy_has_one_thread_unless_the_user_says_otherwise(module: str) -> None:
    if threads_of_blas("sys") < 2:
        pytest.skip("one core, or a numpy without threads of its own")
    assert threads_of_blas(module) == 1
    assert threads_of_blas(module, OPENBLAS_NUM_THREADS="2") == 2
