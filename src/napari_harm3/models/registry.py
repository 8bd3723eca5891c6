"""Every method that can be trained. The table of this module is the paper's Table 1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from napari_harm3.errors import ModelError
from napari_harm3.models.harm3.config import SMALL_HARM3, Harm3Config
from napari_harm3.models.harm3.network import Harm3

Build = Callable[..., nn.Module]
PAPER_SIZE = {"volume_size": (32, 128, 128), "patch_width": 768}
REFERENCE = "Wang et al., HARM3-Fusion (Table 1, row 'Ours')"


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One row of the registry."""

    name: str
    reference: str
    modalities: tuple[str, ...]
    """``mri``, ``wsi``; the inputs without which it says nothing."""

    build: Build
    """From a configuration, ``volume_size`` and ``patch_width`` to a network."""

    sizes: dict[str, Harm3Config]
    """Configuration of each registered size."""

    cam_layers: tuple[str, ...] = ()
    """Layers whose maps explain the prediction, the default first."""

    licence_note: str = "written from the paper; BSD-3-Clause"


def _harm3(name: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        reference=REFERENCE,
        modalities=("mri", "wsi"),
        build=Harm3,
        sizes={"small": SMALL_HARM3, "full": Harm3Config()},
        cam_layers=("encoders",),
    )


MODELS = {name: _harm3(name) for name in ("harm3", "harm3-paper")}


def model_entry(name: str) -> ModelEntry:
    """Return a row of the registry.

    Raises
    ------
    ModelError
        If there is no such method.
    """
    if name not in MODELS:
        raise ModelError(f"There is no method '{name}'; there are {', '.join(MODELS)}.")
    return MODELS[name]


def build_model(
    name: str,
    config: Harm3Config,
    *,
    volume_size: Sequence[int],
    patch_width: int,
) -> nn.Module:
    """Return a freshly drawn network.

    Parameters
    ----------
    name
        A name of the registry.
    config
        Its configuration.
    volume_size
        Voxels of the common grid along z, y, x.
    patch_width
        Features of a patch.

    Raises
    ------
    ModelError
        If there is no such method.
    """
    build = model_entry(name).build
    return build(config, volume_size=volume_size, patch_width=patch_width)


def parameter_count(name: str, size: str) -> int:
    """Return the number of parameters at the paper's input size."""
    with torch.device("meta"):
        entry = model_entry(name)
        network = entry.build(entry.sizes[size], **PAPER_SIZE)
    return sum(weight.numel() for weight in network.parameters())
