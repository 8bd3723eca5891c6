"""Made-up files in the layout of MedicalNet's, and a plain reading of them."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv3d, max_pool3d, pad, relu

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
Tensors = dict[str, Tensor]


def medicalnet_tensors(*, depth: int, width: int) -> Tensors:
    """Return drawn tensors by MedicalNet's names; its width is 64."""
    rng = torch.Generator().manual_seed(depth)
    tensors: Tensors = {}

    def convolution(name: str, norm: str, before: int, after: int, size: int) -> None:
        shape = (after, before, size, size, size)
        scale = (2 / (before * size**3)) ** 0.5
        tensors[f"{name}.weight"] = scale * torch.randn(shape, generator=rng)
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{part}"] = 0.5 + torch.rand(after, generator=rng)
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", "bn1", 1, width, 7)
    expansion, channels = (4 if depth == 50 else 1), width
    for stage, blocks in enumerate(BLOCKS[depth]):
        inside = width << stage
        after = inside * expansion
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            path = [channels, inside, after]
            sizes = [3, 3]
            if depth == 50:
                path, sizes = [channels, inside, inside, after], [1, 3, 1]
            for number, size in enumerate(sizes):
                convolution(
                    f"{name}.conv{number + 1}",
                    f"{name}.bn{number + 1}",
                    path[number],
                    path[number + 1],
                    size,
                )
            grows = channels != after
            if grows and depth in (10, 50):  # type B; 18 and 34 pad with zeros
                downsample = f"{name}.downsample"
                convolution(f"{downsample}.0", f"{downsample}.1", channels, after, 1)
            channels = after
    return tensors


def write_medicalnet(path: Path, *, depth: int, width: int) -> Path:
    """Write them as a data-parallel training saved them."""
    tensors = medicalnet_tensors(depth=depth, width=width)
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": state}, path)
    return path


def medicalnet_map(tensors: Tensors, volume: Tensor, *, depth: int) -> Tensor:
    """Return the last map of an undilated network, read off the tensors' names."""

    def convolved(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        kernel = tensors[f"{conv}.weight"]
        x = conv3d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var, weight, bias = (
            tensors[f"{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, var, weight, bias)

    def shortcut(x: Tensor, like: Tensor, name: str, stride: int) -> Tensor:
        if f"{name}.downsample.0.weight" in tensors:
            return convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        x = x[:, :, ::stride, ::stride, ::stride]
        return pad(x, (0, 0, 0, 0, 0, 0, 0, like.shape[1] - x.shape[1]))

    x = max_pool3d(relu(convolved(volume, "conv1", "bn1", 2)), 3, 2, 1)
    strided = 2 if depth == 50 else 1  # which convolution of a block
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            stride = 2 if stage and not block else 1
            y, last = x, 3 if depth == 50 else 2
            for number in range(1, last + 1):
                step = stride if number == strided else 1
                y = convolved(y, f"{name}.conv{number}", f"{name}.bn{number}", step)
                y = relu(y) if number < last else y
            x = relu(y + shortcut(x, y, name, stride))
    return x
