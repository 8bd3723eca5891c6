"""What a layer of a network says of every volume, by role.

One forward pass; hooks are removed whatever happens. A network may stack volumes along
the batch, leave absent ones out, or take several as channels of one row. Which volume a
row is of, autograd tells: it knows where each number that enters an encoder came from.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.cells import Centres
from napari_harm3.explain.receptive import centres_of
from napari_harm3.models.baselines.c3d import C3d
from napari_harm3.models.baselines.rpnet3d import ResidualUNet
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.resnet3d import ResNet3d

LAST = "last"
"""The layer whose maps a network hands out itself, `Prediction.feature_maps`."""

_KNOWN: WeakKeyDictionary[nn.Module, dict[object, dict[str, Centres]]] = (
    WeakKeyDictionary()
)
"""Where the cells of a network's layers lie, once a pass has shown it: to read that off
the graph takes a tenth of the time of a small network's maps."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which rows of an output are one role's, and whose."""

    output: int
    rows: Int[Tensor, "P"]
    cases: Int[Tensor, "P"]


Passed = tuple[Prediction, tuple[Tensor, ...], dict[str, list[Place]]]
"""What came of a forward pass: the outputs of a layer, and whose they are."""


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A prediction, and what a layer gave on the way, in the graph."""

    prediction: Prediction
    outputs: tuple[Float[Tensor, "P C d h w"], ...]
    """One for each call of an encoder."""

    places: dict[str, list[Place]]
    """Of every role that some case has and the encoder sees."""

    centres: dict[str, Centres]
    """Where the cells of each of these roles lie on the model's grid."""

    cases: int

    def by_role(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return tensors of the outputs' shapes as ``[B, C, d, h, w]`` by role.

        Rows of cases that lack the volume are zero. Detached.
        """
        found: dict[str, Tensor] = {}
        for role, places in self.places.items():
            for place in places:
                tensor = tensors[place.output].detach()
                if role not in found:
                    found[role] = tensor.new_zeros(self.cases, *tensor.shape[1:])
                found[role][place.cases] = tensor[place.rows]
        return found


def layer_names(network: nn.Module) -> tuple[str, ...]:
    """Return the layers that can be captured: ``last``, then from the finest on.

    Encoders of one network have the same ones.
    """
    names = [list(layers) for _, layers in _encoders(network)]
    return (LAST, *(names[0] if names else ()))


def check_layer(network: nn.Module, layer: str) -> None:
    """Refuse a layer that cannot be captured.

    Raises
    ------
    ModelError
        Naming those that can.
    """
    names = layer_names(network)
    if layer not in names:
        raise ModelError(
            f"This network has no layer '{layer}' to explain: there are "
            f"{', '.join(names)}."
        )


def capture(network: nn.Module, batch: CaseBatch, layer: str = LAST) -> Captured:
    """Return a prediction with a layer's maps; call it with gradients enabled.

    Parameters
    ----------
    network
        In the mode that it is to be seen in; see `evaluating`.
    batch
        Cases; nothing of it is changed.
    layer
        One of `layer_names`.

    Raises
    ------
    ModelError
        If the network has no such layer, or makes its own volumes of those given, so
        that none can be told whose a map is.
    """
    # A leaf of our own: gradients flow even if every weight is frozen.
    batch = replace(batch, mri=batch.mri.detach().requires_grad_())
    if layer == LAST:
        prediction, outputs, places = _handed_out(network, batch)
    else:
        prediction, outputs, places = _hooked(network, batch, layer)
    return Captured(
        prediction=prediction,
        outputs=outputs,
        places=places,
        centres=_centres(network, layer, outputs, places, batch.mri),
        cases=len(batch.mri),
    )


def layer_centres(
    network: nn.Module, batch: CaseBatch, layer: str = LAST
) -> dict[str, Centres]:
    """Return where the cells of a layer lie on the model's grid, by role.

    Takes a forward pass; a role that no case has is left out.

    Parameters
    ----------
    network, batch, layer
        As for `capture`; the network is asked in evaluation mode.
    """
    with torch.enable_grad(), evaluating(network):
        return capture(network, batch, layer).centres


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode for a while; each part gets its own mode back.

    In evaluation mode a VAE gives its mean, not a sample.
    """
    learning = [module for module in network.modules() if module.training]
    if learning:
        network.eval()
    try:
        yield
    finally:
        for module in learning:
            module.training = True


def _handed_out(network: nn.Module, batch: CaseBatch) -> Passed:
    """Return the maps of the prediction; one that stands under many roles, once."""
    prediction = network(batch)
    maps = prediction.feature_maps
    outputs = tuple(
        {id(one): one for one in maps.values() if one.requires_grad}.values()
    )
    numbers = {id(one): number for number, one in enumerate(outputs)}
    places = {
        role: [Place(output=numbers[id(maps[role])], rows=cases, cases=cases)]
        for role, cases in _present(batch.mri_avail).items()
        if id(maps.get(role)) in numbers
    }
    return prediction, outputs, places


def _hooked(network: nn.Module, batch: CaseBatch, layer: str) -> Passed:
    """Return the maps of an inner layer."""
    check_layer(network, layer)
    calls: list[list[Tensor]] = []
    with ExitStack() as hooks:
        for encoder, layers in _encoders(network):
            hooks.enter_context(
                encoder.register_forward_pre_hook(
                    lambda _, inputs: calls.append([inputs[0]])
                )
            )
            hooks.enter_context(
                layers[layer].register_forward_hook(
                    lambda _module, _inputs, output: calls[-1].append(output)
                )
            )
        prediction = network(batch)
    places: dict[str, list[Place]] = {role: [] for role in ROLES}
    for number, (volumes, _) in enumerate(calls):
        found = _places(number, _origins(volumes, batch.mri), batch)
        for role, place in found.items():
            places[role].append(place)
    return (
        prediction,
        tuple(output for _, output in calls),
        {role: found for role, found in places.items() if found},
    )


def _centres(
    network: nn.Module,
    layer: str,
    outputs: Sequence[Tensor],
    places: Mapping[str, Sequence[Place]],
    mri: Float[Tensor, "B S T 1 D H W"],
) -> dict[str, Centres]:
    """Return where the cells of each role's map lie, as it is known or is found."""
    known = _KNOWN.setdefault(network, {}).setdefault((layer, mri.shape[-3:]), {})
    if not places.keys() <= known.keys():
        found = centres_of(outputs, mri)
        known |= {role: found[one[0].output] for role, one in places.items()}
    return {role: known[role] for role in places}


def _origins(
    volumes: Float[Tensor, "P c D H W"], mri: Float[Tensor, "B S T 1 D H W"]
) -> Int[Tensor, "B S T"]:
    """Return in which row of an encoder's input each volume stands, from 1 on; 0: none.

    The rows were picked from the volumes, so the gradient of a mark in the corner of
    every row stands in the corner of the volume that the row is.
    """
    numbers = torch.arange(1, len(volumes) + 1, device=mri.device, dtype=mri.dtype)
    marks = torch.zeros_like(volumes)
    marks[..., 0, 0, 0] = numbers[:, None]
    (found,) = torch.autograd.grad(
        volumes, mri, marks, retain_graph=True, materialize_grads=True
    )
    rows = found[..., 0, 0, 0, 0]
    once = numbers.repeat_interleave(volumes.shape[1])
    if not torch.equal(rows[rows != 0].sort().values, once):
        raise ModelError(
            "This network changes the volumes before its encoder sees them, so that a "
            f"map of an inner layer has no volume: explain the layer '{LAST}'."
        )
    return rows.long()


def _places(
    output: int, origins: Int[Tensor, "B S T"], batch: CaseBatch
) -> dict[str, Place]:
    """Return where each role's present volumes lie in an output."""
    return {
        role: Place(
            output=output,
            rows=origins.flatten(1)[cases, ROLES.index(role)] - 1,
            cases=cases,
        )
        for role, cases in _present((origins > 0) & batch.mri_avail).items()
    }


def _present(volumes: Bool[Tensor, "B S T"]) -> dict[str, Int[Tensor, "P"]]:
    """Return by role which cases have the volume; a role that none has is left out."""
    found = {
        role: there.nonzero().squeeze(1)
        for role, there in zip(ROLES, volumes.flatten(1).T, strict=True)
    }
    return {role: cases for role, cases in found.items() if len(cases)}


def _encoders(network: nn.Module) -> list[tuple[nn.Module, dict[str, nn.Module]]]:
    """Return what volumes enter, and the layers within by name."""
    found: list[tuple[nn.Module, dict[str, nn.Module]]] = []
    for module in network.modules():
        if isinstance(module, ResNet3d):
            found.append((module, {"stem": module.stem, **_stages([*module.stages])}))
        elif isinstance(module, ResidualUNet):
            found.append((module, _stages([*module.down])))
        elif isinstance(module, C3d):
            layers = [*module.features]
            ends = [
                layer
                for layer, after in pairwise([*layers, nn.MaxPool3d(1)])
                if isinstance(after, nn.MaxPool3d)
            ]
            found.append((module.features, _stages(ends)))
    return found


def _stages(layers: Sequence[nn.Module]) -> dict[str, nn.Module]:
    return {f"stage{number}": layer for number, layer in enumerate(layers, start=1)}
