"""Which pictures of a file are levels of one pyramid."""

from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height in pixels."""

EDGE = 2
"""Pixels by which rounding, anew at every halving, can move the edge of a level."""

STRETCH = 0.01
"""Share by which levels that are made of whole tiles may be too wide or too high."""


def levels_among(sizes: Sequence[Size]) -> list[int]:
    """Return which of a file's pictures are levels of the first, finest first.

    Each is smaller than the last and has the proportions of the first; a label, a
    macro or another piece of tissue has not.

    Examples
    --------
    >>> levels_among([(2048, 1024), (512, 256), (600, 256), (128, 64), (128, 64)])
    [0, 1, 3]
    """
    levels = [0]
    for number, size in enumerate(sizes[1:], start=1):
        finer = sizes[levels[-1]]
        smaller = size != finer and size[0] <= finer[0] and size[1] <= finer[1]
        if smaller and _is_alike(size, sizes[0]):
            levels.append(number)
    return levels


def _is_alike(size: Size, first: Size) -> bool:
    """Return whether both axes may be shrunk by one factor."""
    (width, height), (across, down) = size, first
    due_width, due_height = across * height / down, down * width / across
    return abs(width - due_width) <= max(EDGE, STRETCH * width) or abs(
        height - due_height
    ) <= max(EDGE, STRETCH * height)
