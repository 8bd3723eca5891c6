"""Whether a heat map depends on what the network has learned.

The layers are randomised one after the other, from the last to the first, and each
time the map is compared with that of the trained network. A map that stays as it was
shows the input, not the network; edges of the image pass for explanations that way.

What this test cannot tell: that a map changes does not make it right, and a network
whose layers hand the input through keeps some likeness in any map.

Reference: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.explain.cells import BatchMaps
from napari_harm3.models.interface import CaseBatch

MOST_ALIKE = 0.5
"""Mean rank correlation, all layers randomised, above which a map fails."""

MOST_VANISHED = 0.5
"""Share of maps without relief, all layers randomised, above which none is judged."""

MapMaker = Callable[[nn.Module, CaseBatch], BatchMaps]
"""Network and batch to maps by role."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two sets of maps are: means over volumes and cases."""

    rank_correlation: float | None
    """Spearman's, of the cells, where both maps have relief; None if none do."""

    shared: float
    """Share of their sums that two maps have in common, 0 to 1."""

    vanished: float
    """Share of the second set's maps that have no relief."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One layer more randomised."""

    layer: str
    likeness: Likeness
    of: int
    """Stages in all."""


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """What randomising layer by layer does to a map."""

    stages: tuple[Stage, ...]
    """The last layer first; each stage includes those before."""

    passed: bool | None
    """Whether the map depends on the weights; None if there is no map to tell it by."""

    verdict: str


def stages(
    network: nn.Module,
    batch: CaseBatch,
    maker: MapMaker,
    *,
    seed: int = 0,
    most_stages: int | None = None,
) -> Iterator[Stage]:
    """Yield how alike maps still are, layer by layer; nothing if all maps are flat.

    Parameters
    ----------
    network
        Left as it is; a copy in evaluation mode is randomised.
    batch
        One case or several, on the network's device.
    maker
        Makes the maps that are tested.
    seed
        Of the random weights; torch's own state is kept.
    most_stages
        Neighbouring layers are randomised together, so that there are no more.
    """
    trained = maker(network, batch)
    if not any(_relief(one) for maps in trained.values() for one in maps):
        return
    changed = copy.deepcopy(network).eval()
    layers = last_to_first(changed, batch)
    parts = min(most_stages or len(layers), len(layers))
    devices = [batch.mri.device] if batch.mri.is_cuda else []
    for part in np.array_split(np.arange(len(layers)), parts):
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed + int(part[0]))
            for number in part:
                randomise(layers[number][1])
        found = likeness(trained, maker(changed, batch))
        yield Stage(layer=layers[part[-1]][0], likeness=found, of=parts)


def judged(found: Sequence[Stage]) -> Cascade:
    """Return the verdict on a whole cascade, in words for whoever reads the map."""
    if not found:
        return Cascade(
            stages=(), passed=None, verdict="There is no map to test: all are flat."
        )
    last, gone = found[-1].likeness.rank_correlation, found[-1].likeness.vanished
    if last is None or gone > MOST_VANISHED:
        return Cascade(
            stages=tuple(found),
            passed=None,
            verdict="Whether the map depends on what the network has learned is not "
            f"shown: with every layer random {100 * gone:.0f} % of the maps are flat, "
            "and too little is left to compare.",
        )
    passed = last < MOST_ALIKE
    verdict = (
        "The map depends on what the network has learned: with every layer random it "
        f"is another map (likeness {last:.2f}, where 1 is the same)."
        if passed
        else "The map does not depend on what the network has learned: with every "
        f"layer random it stays alike (likeness {last:.2f}, where 1 is the same). It "
        "shows the picture, not the network: do not read it as evidence."
    )
    return Cascade(stages=tuple(found), passed=passed, verdict=verdict)


def last_to_first(network: nn.Module, batch: CaseBatch) -> list[tuple[str, nn.Module]]:
    """Return the modules that hold weights of their own, the last to run first.

    A module whose weights are used without it being called runs with its parent.
    """
    order: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: object) -> None:
        order.setdefault(module, len(order))

    hooks = [m.register_forward_pre_hook(note) for m in network.modules()]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    places: dict[str, int] = {}
    for name, module in network.named_modules():  # a parent comes before its children
        above = places.get(name.rpartition(".")[0], -1)
        places[name] = order.get(module, above)
    holders = [
        (name, module)
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    position = {name: number for number, (name, _) in enumerate(holders)}
    holders.sort(key=lambda one: (places[one[0]], position[one[0]]), reverse=True)
    return [(name or "(the network's own)", module) for name, module in holders]


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Draw a module's own weights anew: by its initialiser, else as they are spread."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in module.parameters(recurse=False):
        spread = parameter.std().item() if parameter.numel() > 1 else 0.0
        parameter.normal_(parameter.mean().item(), spread or 1.0)


def likeness(one: BatchMaps, other: BatchMaps) -> Likeness:
    """Return how alike maps are, volume by volume and case by case.

    Maps of the first set that have no relief are left out: nothing can be like them.
    """
    pairs = list(_pairs(one, other))
    ranks = [rank_correlation(a, b) for a, b in pairs]
    left = [rank for rank in ranks if rank is not None]
    return Likeness(
        rank_correlation=float(np.mean(left)) if left else None,
        shared=float(np.mean([shared(a, b) for a, b in pairs])) if pairs else 0.0,
        vanished=float(np.mean([not _relief(b) for _, b in pairs])) if pairs else 0.0,
    )


def rank_correlation(
    one: Float[np.ndarray, "*cells"], other: Float[np.ndarray, "*cells"]
) -> float | None:
    """Return Spearman's correlation of two maps; None if one has no relief."""
    if not (_relief(one) and _relief(other)):
        return None
    return float(stats.spearmanr(one.ravel(), other.ravel()).statistic)


def shared(
    one: Float[np.ndarray, "*cells"], other: Float[np.ndarray, "*cells"]
) -> float:
    """Return the overlap of what two maps say for the target, each of a sum of one."""
    mine, theirs = np.maximum(one, 0), np.maximum(other, 0)
    sums = float(mine.sum()), float(theirs.sum())
    if min(sums) <= 0:
        return 0.0
    return float(np.minimum(mine / sums[0], theirs / sums[1]).sum())


def repeatability(
    network: nn.Module, batch: CaseBatch, maker: MapMaker, *, times: int = 3
) -> float:
    """Return the greatest difference between maps of one network; 0 if it repeats."""
    first = maker(network, batch)
    worst = 0.0
    for _ in range(times - 1):
        again = maker(network, batch)
        if set(again) != set(first):
            return float("inf")
        worst = max([worst, *(float(np.abs(first[r] - again[r]).max()) for r in first)])
    return worst


def seed_likeness(
    networks: Sequence[nn.Module], batch: CaseBatch, maker: MapMaker
) -> list[Likeness]:
    """Return how alike the maps of networks are that differ in their seed or fold.

    One a pair of networks: (0, 1), (0, 2) ... (1, 2) ...
    """
    maps = [maker(network, batch) for network in networks]
    return [likeness(one, other) for one, other in combinations(maps, 2)]


def edge_maps(_: nn.Module, batch: CaseBatch) -> BatchMaps:
    """Return the edges of the volumes: a map of the input that has to fail."""
    volumes = batch.mri[:, :, :, 0].double().cpu().numpy()
    slopes = np.stack([np.gradient(volumes, axis=axis) for axis in (-3, -2, -1)])
    edges = np.sqrt((slopes**2).sum(axis=0)).reshape(
        len(volumes), -1, *volumes.shape[3:]
    )
    there = batch.mri_avail.flatten(1).any(dim=0).tolist()
    return {
        role: edges[:, number] for number, role in enumerate(ROLES) if there[number]
    }


def _pairs(one: BatchMaps, other: BatchMaps) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for role, maps in one.items():
        for mine, theirs in zip(maps, other[role], strict=True):
            if _relief(mine):
                yield mine, theirs


def _relief(one: Float[np.ndarray, "*cells"]) -> bool:
    return bool(one.max() > one.min())
