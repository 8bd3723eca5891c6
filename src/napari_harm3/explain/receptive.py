"""Where the cells of a layer look, read off the way that the volumes took to it.

Autograd keeps every step from the volumes to a layer. A step with kernel k, stride s,
padding p and dilation e has its cell i at ``(k - 1) * e / 2 - p + s * i`` of the cells
before, so that

    start += ((k - 1) * e / 2 - p) * step        step *= s

from voxel to layer, along each axis; steps that neither shift nor thin out the cells
leave both. It holds for every network, whatever its modules are called.

Reference: Araujo, Norris and Sim, Computing receptive fields of convolutional neural
networks, Distill 2019.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.autograd.graph import Node

from napari_harm3.explain.cells import Centres, equal_shares

VOXELS = Centres(start=(0.0, 0.0, 0.0), step=(1.0, 1.0, 1.0))
POOL = re.compile(r"(Max|Avg)Pool[23]D(WithIndices)?Backward")
MOVES = re.compile(r"Convolution|Slice|Max|Avg|ConstantPad|Reflection|Replication")
PAD = re.compile(r"(ConstantPadNd|(Reflection|Replication)Pad[23]D)Backward")
SPATIAL = 3
"""The last axes of a tensor: z, y, x."""

Ways = frozenset[Centres]
"""What the ways from the volumes to a step make of the cells, one if they agree."""


def centres_of(outputs: Sequence[Tensor], volumes: Tensor) -> tuple[Centres, ...]:
    """Return where the cells of a layer's outputs lie on the volumes behind them.

    If the ways from the volumes to an output do not agree, or lead past steps that are
    not known here, equal shares of the grid are assumed, and that is said.

    Parameters
    ----------
    outputs
        ``[..., d, h, w]``, in a graph through which no gradient was taken yet.
    volumes
        ``[..., D, H, W]``; a leaf of that graph.
    """
    found: dict[Node | None, Ways] = {None: frozenset()}
    size = volumes.shape[-SPATIAL:]
    centres = []
    for output in outputs:
        _follow(output.grad_fn, volumes, found)
        cells = output.shape[-SPATIAL:]
        ways = [way for way in found[output.grad_fn] if _spans(way, cells, size)]
        known = len(ways) == len(found[output.grad_fn]) == 1
        centres.append(ways[0] if known else equal_shares(cells, size))
    return tuple(centres)


def _follow(last: Node | None, volumes: Tensor, found: dict[Node | None, Ways]) -> None:
    """Find the ways to a step and to all before it, of which some may be known."""
    waiting = [last]
    while waiting:  # no recursion: a graph may be deeper than Python's stack
        node = waiting[-1]
        if node is None or node in found:
            waiting.pop()
            continue
        before = [one for one, _ in node.next_functions]
        if not before:
            mine = getattr(node, "variable", None) is volumes
            found[node] = frozenset([VOXELS] if mine else [])
            continue
        missing = [one for one in before if one not in found]
        waiting += missing
        if not missing:
            ways = frozenset[Centres]().union(*[found[one] for one in before])
            moved = MOVES.match(node.name())
            found[node] = frozenset([_after(w, node) for w in ways]) if moved else ways


def _after(before: Centres, node: Any) -> Centres:
    """Return where the cells lie after a step; as before if it does not move them."""
    name = node.name()
    if name.startswith("ConvolutionBackward") and not node._saved_transposed:
        kernel = node._saved_weight.shape[2:]
        return _slid(before, node, kernel, node._saved_dilation)
    if POOL.match(name):
        kernel = node._saved_kernel_size
        dilation = getattr(node, "_saved_dilation", (1,) * len(kernel))
        return _slid(before, node, kernel, dilation)
    if name.startswith("SliceBackward"):
        axis = node._saved_dim - len(node._saved_self_sym_sizes) + SPATIAL
        if 0 <= axis < SPATIAL:
            offset, stride = [0.0] * SPATIAL, [1] * SPATIAL
            offset[axis], stride[axis] = node._saved_start, node._saved_step
            return _moved(before, offset, stride)
    if PAD.match(name):
        pad = getattr(node, "_saved_pad", None) or node._saved_padding
        ahead = [-float(one) for one in pad[::2]]  # x comes first
        return _moved(before, ahead[:SPATIAL][::-1], [1] * len(ahead[:SPATIAL]))
    return before


def _slid(
    before: Centres, node: Any, kernel: Sequence[int], dilation: Sequence[int]
) -> Centres:
    """Return where the cells lie after a kernel that slid over them."""
    stride = node._saved_stride or kernel
    offset = [
        (size - 1) * apart / 2 - pad
        for size, apart, pad in zip(kernel, dilation, node._saved_padding, strict=True)
    ]
    return _moved(before, offset, stride)


def _moved(before: Centres, offset: Sequence[float], stride: Sequence[int]) -> Centres:
    """Return every so many-th cell from an offset on, along the last axes."""
    rest = SPATIAL - len(stride)
    offsets, strides = [0.0] * rest + [*offset], [1] * rest + [*stride]
    step = np.array(before.step)
    return Centres.of(np.array(before.start) + step * offsets, step * strides)


def _spans(found: Centres, cells: Sequence[int], size: Sequence[int]) -> bool:
    """Return whether cells lie over the grid as evenly as cells do.

    Half a cell or a whole one may be left at an end, but a step that was missed, a
    stride say, leaves half of the grid.
    """
    axes = zip(found.start, found.step, cells, size, strict=True)
    return all(
        abs(start - (voxels - 1 - start - step * (count - 1))) <= step
        for start, step, count, voxels in axes
    )
