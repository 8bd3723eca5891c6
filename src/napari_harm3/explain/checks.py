"""The trials of a map, as ``checks.json`` tells them.

Cascading randomisation (`sanity`) beside a control that has to fail, whether a map
repeats and how alike the folds' are, and deletion and insertion (`faithfulness`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool3d

from napari_harm3.explain.cells import BatchMaps
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.faithfulness import Curves, faithfulness_steps
from napari_harm3.explain.gradcam import heat_maps
from napari_harm3.explain.other_maps import CoarseMaps
from napari_harm3.explain.sanity import (
    MOST_ALIKE,
    Likeness,
    MapMaker,
    Stage,
    edge_maps,
    judged,
    repeatability,
    seed_likeness,
    stages,
)
from napari_harm3.models.interface import CaseBatch

STAGES = 20
"""Neighbouring layers are randomised together, so that there are no more."""

SURE = 0.05
"""A p below this says that random blobs do worse."""

Found = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckStep:
    """How far a trial is; the last step carries what was found."""

    step: int
    of: int
    text: str = ""
    found: Found | None = None


def maps_of(config: ExplainConfig) -> MapMaker:
    """Return what makes a network's own maps."""
    return lambda network, batch: heat_maps(network, batch, config)[1]


def randomisation(
    networks: Sequence[nn.Module], batch: CaseBatch, maker: MapMaker
) -> Iterator[CheckStep]:
    """Yield how far the trial is; the last step tells if a map depends on the weights.

    Parameters
    ----------
    networks
        Of the folds that are asked of the case; each is randomised by itself, and
        likenesses are means over them, of those that have any.
    batch
        One case.
    maker
        Makes the maps that are tried.

    Yields
    ------
    :
        One a layer, one a map that is made again. The last with ``found``: ``passed``,
        None if too little is left to judge by, ``verdict``, ``limit``; ``stages`` of
        ``layer``, ``rank_correlation``, ``shared``, ``vanished``; ``control``, the
        same of the input's edges with all layers random, which has to fail;
        ``repeatability``, the greatest difference when the map is made again;
        ``between_folds``, the mean likeness of two folds' maps, None for one fold.
    """
    parts = 0
    by_network: list[list[Stage]] = []
    for number, network in enumerate(networks):
        own: list[Stage] = []
        for stage in stages(network, batch, maker, most_stages=STAGES):
            own.append(stage)
            parts = stage.of
            yield CheckStep(
                step=number * parts + len(own),
                of=(parts + 1) * len(networks) + 1,
                text=f"random: {stage.layer}",
            )
        by_network.append(own)
    of, differences = (parts + 1) * len(networks) + 1, []
    for network in networks:
        differences.append(repeatability(network, batch, maker, times=2))
        step = parts * len(networks) + len(differences)
        yield CheckStep(step=step, of=of, text="made again")
    found = _told([one for one in by_network if one])
    if found["stages"]:
        found["control"] = _control(networks[0], batch, maker)
    pairs = seed_likeness(networks, batch, maker)
    found["repeatability"] = max(differences)
    found["between_folds"] = vars(_mean(pairs)) if pairs else None
    yield CheckStep(step=of, of=of, found=found)


def trial(
    network: nn.Module,
    batch: CaseBatch,
    maps: CoarseMaps,
) -> Iterator[CheckStep]:
    """Yield a step a curve; the last tells whether what a map points to is needed.

    Parameters
    ----------
    network
        Whose logit is followed.
    batch
        One case.
    maps
        Its maps by role, of evidence for what the logit is of; all of one layer.

    Yields
    ------
    :
        The last with ``found``: ``verdict``, ``passed``, ``share`` of the voxels at
        each step; ``deletion`` and ``insertion`` with the logit ``evident``, that of
        random blobs as ``random_mean``, ``random_low``, ``random_high`` (5 and 95 %),
        ``area`` between them and ``p``. Or ``{"not_applicable": reason}``.
    """
    arrays = {role: one.array for role, one in maps.items()}
    centres = next((one.centres for one in maps.values()), None)
    for step in faithfulness_steps(network, batch, arrays, centres=centres):
        if step.found is None and step.of:
            yield CheckStep(step=step.step, of=step.of, text="deletion and insertion")
    if step.found is None:
        reason = "There is no map to test: all are flat."
        yield CheckStep(step=1, of=1, found={"not_applicable": reason})
        return
    deletion, insertion = step.found.deletion, step.found.insertion
    sure = [one.area > 0 and one.p < SURE for one in (deletion, insertion)]
    yield CheckStep(
        step=1,
        of=1,
        found={
            "passed": all(sure),
            "verdict": _needed(*sure),
            "share": step.found.share.tolist(),
            "deletion": _plain(deletion),
            "insertion": _plain(insertion),
        },
    )


def _needed(deleted: bool, inserted: bool) -> str:
    if deleted and inserted:
        return (
            "The model needs what the map points to: without it the answer falls "
            "further, and with it alone rises further, than with random blobs of the "
            "same size."
        )
    if deleted or inserted:
        which = "taken out" if deleted else "put in"
        return (
            f"The model needs what the map points to in part: only when it is {which} "
            "does the answer move further than with random blobs of the same size."
        )
    return (
        "It is not shown that the model needs what the map points to: random blobs of "
        "the same size move the answer as far. Do not read the map as the reason."
    )


def _plain(curves: Curves) -> Found:
    low, high = np.percentile(curves.random, (5, 95), axis=0)
    return {
        "evident": curves.evident.tolist(),
        "random_mean": curves.random.mean(axis=0).tolist(),
        "random_low": low.tolist(),
        "random_high": high.tolist(),
        "area": curves.area,
        "p": curves.p,
    }


def _told(by_network: Sequence[Sequence[Stage]]) -> Found:
    """Return a cascade, averaged over the networks that have maps."""
    means = [
        Stage(
            layer=at[0].layer,
            of=at[0].of,
            likeness=_mean([stage.likeness for stage in at]),
        )
        for at in zip(*by_network, strict=True)
    ]
    found = judged(means)
    return {
        "passed": found.passed,
        "verdict": found.verdict,
        "limit": MOST_ALIKE,
        "stages": [{"layer": s.layer} | vars(s.likeness) for s in found.stages],
    }


def _mean(found: Sequence[Likeness]) -> Likeness:
    ranks = [one.rank_correlation for one in found if one.rank_correlation is not None]
    return Likeness(
        rank_correlation=float(np.mean(ranks)) if ranks else None,
        shared=float(np.mean([one.shared for one in found])),
        vanished=float(np.mean([one.vanished for one in found])),
    )


def _control(network: nn.Module, batch: CaseBatch, maker: MapMaker) -> Found:
    """Return what randomising makes of edges: no weight has a say, so once will do."""
    z, y, x = next(iter(maker(network, batch).values())).shape[-3:]
    once = stages(network, batch, _edges_on((z, y, x)), most_stages=1)
    return {"map": "edges of the input"} | _told([list(once)])


def _edges_on(cells: tuple[int, int, int]) -> MapMaker:
    """Return what makes the edges of the input, as coarse as the map that is tried."""

    def edges(network: nn.Module, batch: CaseBatch) -> BatchMaps:
        return {
            role: adaptive_avg_pool3d(torch.from_numpy(one), cells).numpy()
            for role, one in edge_maps(network, batch).items()
        }

    return edges
