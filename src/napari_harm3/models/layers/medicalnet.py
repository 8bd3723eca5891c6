"""Weights that MedicalNet learned from 23 medical data sets, for the 3-D ResNet.

Reference: Chen et al., Med3D: transfer learning for 3D medical image analysis,
arXiv:1904.00625, 2019. Nothing is downloaded: the user brings the ``.pth`` file.
"""

from pathlib import Path

import torch
from torch import Tensor

from napari_harm3.errors import ModelError
from napari_harm3.models.layers.resnet3d import ResNet3d

NEEDS = (
    "MedicalNet's weights need an encoder of their depth with stem 'isotropic', "
    "base_channels 64, norm 'batch', and shortcut 'padding' at depth 18 and 34 or "
    "'projection' at depth 10 and 50."
)
COUNTER = "num_batches_tracked"
"""Ends the name of what is counted, not learned; older files lack it."""

NAMED = 3
"""Tensors that an error names before it only counts."""


def load_medicalnet(network: ResNet3d, path: Path) -> None:
    """Fill an encoder with MedicalNet's weights, all of them or none.

    The kernel of the first convolution knows one channel. Over several it is repeated
    and divided by their number: equal volumes then answer as one did.

    Raises
    ------
    ModelError
        If the file cannot be read, or is not of such an encoder.
    """
    state = network.state_dict()
    names = {_name_there(name): name for name in state if not name.endswith(COUNTER)}
    found = _read(path)
    kernel = found.get("conv1.weight")
    if kernel is not None and kernel.ndim == 5 and kernel.shape[1] == 1:
        channels = state["stem.0.weight"].shape[1]
        found["conv1.weight"] = kernel.repeat(1, channels, 1, 1, 1) / channels
    faults = {
        "lacks": names.keys() - found.keys(),
        "has besides": found.keys() - names.keys(),
        "has in another shape": {
            there
            for there in names.keys() & found.keys()
            if found[there].shape != state[names[there]].shape
        },
    }
    if any(faults.values()):
        text = ", ".join(f"{fault} {_some(f)}" for fault, f in faults.items() if f)
        raise ModelError(f"{path} does not fit the network: it {text}. {NEEDS}")
    network.load_state_dict(
        state | {name: found[there] for there, name in names.items()}
    )


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their bare names."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        tensors = content.get("state_dict", content)
        return {
            name.removeprefix("module."): tensor
            for name, tensor in tensors.items()
            if isinstance(tensor, Tensor) and not name.endswith(COUNTER)
        }
    except Exception as error:  # a stray file can make unpickling fail in any way
        raise ModelError(
            f"{path} cannot be read as a file of PyTorch weights: give one of "
            "MedicalNet's .pth files."
        ) from error


def _name_there(name: str) -> str:
    """Return what MedicalNet calls a tensor of the encoder."""
    match name.split("."):
        case ["stem", place, kind]:
            return f"{_layer(place)}.{kind}"
        case ["stages", stage, block, "residual", place, kind]:
            return f"layer{int(stage) + 1}.{block}.{_layer(place)}.{kind}"
        case ["stages", stage, block, "shortcut", place, kind]:
            return f"layer{int(stage) + 1}.{block}.downsample.{place}.{kind}"
    raise AssertionError(name)


def _layer(place: str) -> str:
    """Return its name for a layer; they come by three, the third is a rectifier."""
    number, kind = divmod(int(place), 3)
    return f"{('conv', 'bn')[kind]}{number + 1}"


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMED])
    more = len(names) - NAMED
    return f"{shown} and {more} more" if more > 0 else shown
