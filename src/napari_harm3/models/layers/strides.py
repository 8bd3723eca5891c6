"""How a network comes to its output stride, axis by axis."""

from collections.abc import Sequence

Steps = tuple[int, int, int]


def halving_steps(
    output_stride: Sequence[int], *, reached: Steps, count: int
) -> list[Steps]:
    """Return the strides along z, y, x of the next layers.

    Each axis is halved by every layer until it is where it shall be.

    Parameters
    ----------
    output_stride
        Voxels per cell of the last map; powers of two.
    reached
        Voxels per cell before the first of these layers.
    count
        How many layers.

    Examples
    --------
    >>> halving_steps((4, 8, 8), reached=(1, 2, 2), count=3)
    [(2, 2, 2), (2, 2, 2), (1, 1, 1)]
    """
    steps: list[Steps] = []
    for _ in range(count):
        z, y, x = (
            2 if here < goal else 1
            for here, goal in zip(reached, output_stride, strict=True)
        )
        steps.append((z, y, x))
        reached = (reached[0] * z, reached[1] * y, reached[2] * x)
    return steps
