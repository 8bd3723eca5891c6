"""Seeds made of what they are for: run, fold, epoch, step; never of what came before.

A run that is stopped and resumed then makes the same network as one that was not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """Return a seed that depends on every number of a key, and on their order."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def batches_of(count: int, size: int, key: tuple[int, ...]) -> list[np.ndarray]:
    """Return the order of an epoch as batches of like size.

    Batches differ by one case at most, and where there are two cases none has one
    alone, of which batch norm could take no statistics: an odd one makes a pair three.
    """
    order = np.random.default_rng(key).permutation(count)
    return np.array_split(order, max(1, min(-(-count // size), count // 2)))


@contextmanager
def reproducible(*, threads: int | None) -> Iterator[None]:
    """Ask torch for deterministic algorithms, and for a number of threads.

    Parameters
    ----------
    threads
        None leaves it to torch. On small tensors several threads cost four to eight
        times the CPU time of one.
    """
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    # On a GPU 3-D pooling and upsampling have no deterministic backward pass.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(mode=strict, warn_only=warns)
