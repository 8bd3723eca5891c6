"""What heat maps cost beside pytorch-grad-cam: ``python benchmarks/heat_maps.py``.

HARM3 with one encoder for pre and post. Ours: four maps in one pass, on the model's
grid. The rival: pytorch-grad-cam's GradCAM called four times, once for each volume,
whose rows of the shared encoder it is told. Both take turns in one process, each after
a run of its own that is not counted, as one case follows another: what comes after the
other side would pay for the memory that it gave back. The ratio is the median of the
turns' own ratios. The bar is 8.

Then many explanations in a row: what the memory grows by, as a line fitted to what is
in use (tracemalloc: Python and NumPy; resident: all), and what is left on the network.
"""

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import psutil
import torch
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from napari_harm3.cohort.case import AXES, ROLES, TIMES
from napari_harm3.data.config import InputConfig
from napari_harm3.explain.cells import cell_grid, drawn
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import heat_maps, located_heat_maps
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import MODELS, build_model
from napari_harm3.mri.volume import Geometry

BAR = 8
EVERY = 20
"""Explanations from one look at the memory to the next."""

PATCH_WIDTH = 768
Maps = dict[str, np.ndarray]


class Asked(nn.Module):
    """HARM3 as pytorch-grad-cam wants it: one tensor in, one column out."""

    def __init__(self, network: nn.Module, batch: CaseBatch) -> None:
        super().__init__()
        self.network, self.batch = network, batch

    def forward(self, volumes: Tensor) -> Tensor:
        mri = volumes.reshape(self.batch.mri.shape)
        return self.network(replace(self.batch, mri=mri)).logit[:, None]


def ours(network: nn.Module, batch: CaseBatch) -> Maps:
    found = located_heat_maps(network, batch)
    z, y, x = batch.mri.shape[-3:]
    voxels = Geometry(shape=(z, y, x), affine=np.eye(4))
    grids = {
        role: cell_grid(cam[0].shape, voxels.shape, voxels.affine, found.centres[role])
        for role, cam in found.maps.items()
    }
    return {role: drawn(found.maps[role][0], grids[role], voxels) for role in grids}


def theirs(network: nn.Module, batch: CaseBatch) -> Maps:
    asked, volumes = Asked(network, batch), batch.mri.flatten(1, 3)
    found = {}
    for role, (sequence, moment) in AXES.items():

        def rows(output: Tensor, moment: int = moment) -> Tensor:
            return output[moment :: len(TIMES)]

        layer = [network.encoders[sequence].stages]
        with GradCAM(asked, layer, reshape_transform=rows) as method:
            found[role] = method(volumes, [lambda output: output[0]])[0]
    network.zero_grad()
    return found


def case(size: str, patches: int, device: str) -> CaseBatch:
    torch.manual_seed(1)
    one = torch.ones(1, dtype=torch.bool)
    return CaseBatch(
        mri=torch.randn(1, 2, 2, 1, *InputConfig.of_size(size).mri.size),
        mri_avail=one[:, None, None].repeat(1, 2, 2),
        wsi=torch.randn(1, patches, PATCH_WIDTH),
        wsi_mask=one[:, None].repeat(1, patches),
        wsi_coords=torch.rand(1, patches, 2),
        wsi_avail=one,
        label=torch.zeros(1),
        aligned=one,
    ).to(device)


def harm3(size: str, device: str) -> nn.Module:
    torch.manual_seed(0)
    network = build_model(
        "harm3",
        MODELS["harm3"].sizes[size],
        volume_size=InputConfig.of_size(size).mri.size,
        patch_width=PATCH_WIDTH,
    )
    return network.eval().to(device)


def seconds(work: Callable[[], object], device: str) -> float:
    """Return what work takes the second time: CPU seconds, or a GPU's by the clock."""
    work()
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def contest(size: str, patches: int, turns: int, device: str) -> None:
    network, batch = harm3(size, device), case(size, patches, device)
    mine, other = ours(network, batch), theirs(network, batch)
    alike = [np.corrcoef(mine[r].ravel(), other[r].ravel())[0, 1] for r in ROLES]
    spent = [
        (
            seconds(lambda: ours(network, batch), device),
            seconds(lambda: theirs(network, batch), device),
        )
        for _ in range(turns)
    ]
    ratio = median(b / a for a, b in spent)
    a, b = (1000 * median(column) for column in zip(*spent, strict=True))
    print(
        f"| {size} | {a:.0f} | {b:.0f} | {ratio:.1f} | >= {BAR} "
        f"| {min(alike):.3f} to {max(alike):.3f} |",
        flush=True,
    )


def memory(times: int) -> None:
    """Explain a case again and again, with a hooked layer every other time."""
    network, batch = harm3("small", "cpu").train(), case("small", 200, "cpu")
    layers = [ExplainConfig(), ExplainConfig(layer="stage2", method="layercam")]
    process, warm = psutil.Process(), max(times // 5, 1)
    # Made beforehand: what is measured must not hold the measurements.
    in_use, resident = np.zeros((2, times // EVERY), np.int64)
    tracemalloc.start()
    for number in range(warm + times):
        heat_maps(network, batch, layers[number % 2])
        turn = number - warm + 1
        if turn > 0 and turn % EVERY == 0:
            gc.collect()
            in_use[turn // EVERY - 1] = tracemalloc.get_traced_memory()[0]
            resident[turn // EVERY - 1] = process.memory_info().rss
    tracemalloc.stop()
    print(
        f"\n{times} explanations after {warm}, in turn of the last and an inner layer:"
    )
    for name, values in (("tracemalloc", in_use), ("resident", resident)):
        slope = np.polyfit(EVERY * np.arange(len(values)), values, 1)[0]
        grown = values[-1] - values[0]
        print(f"* {name}: {slope:+.1f} bytes an explanation, {grown:+d} bytes in all")
    modules = [*network.modules()]
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)
    grads = sum(weight.grad is not None for weight in network.parameters())
    print(
        f"* hooks left: {hooks}; `.grad` set: {grads}; "
        f"training mode kept: {all(module.training for module in modules)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["small", "full"])
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--explanations", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if 0 < arguments.explanations < 2 * EVERY:
        parser.error(f"a slope takes {2 * EVERY} explanations or more (or 0: none)")
    torch.set_num_threads(1)
    print("| size | ours, ms | pytorch-grad-cam, ms | ratio | bar | correlation |")
    print("|---|---|---|---|---|---|")
    for size in arguments.sizes:
        contest(size, arguments.patches, arguments.turns, arguments.device)
    if arguments.explanations:
        memory(arguments.explanations)


if __name__ == "__main__":
    main()
