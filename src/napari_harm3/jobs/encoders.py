"""Encoders that a process has loaded; each is loaded once."""

import threading
from typing import TYPE_CHECKING

from napari_harm3.config import recipe_hash
from napari_harm3.jobs.device import resolve_device
from napari_harm3.wsi.config import EncoderConfig

if TYPE_CHECKING:
    from napari_harm3.wsi.encoder import Encoder

_loaded: dict[tuple[str, str], "Encoder"] = {}
_loading = threading.Lock()


def encoder_for(config: EncoderConfig, device: str) -> "Encoder":
    """Return an encoder on this process's share of a device.

    Raises
    ------
    ConfigError, FeatureError
        If it cannot be made, or its weights cannot be read.
    """
    from napari_harm3.wsi.encoder import load_encoder

    key = recipe_hash(config), resolve_device(device)
    # Two threads that draw untrained weights at once would share one dice.
    with _loading:
        if key not in _loaded:
            _loaded[key] = load_encoder(config, key[1])
        return _loaded[key]


def untrained_warning(config: EncoderConfig) -> str:
    """Return the sentence that says that an encoder has learned nothing."""
    return (
        f"The slide encoder {config.name} is untrained: its weights are drawn from "
        "seed 0. Give --weights for features that mean something."
    )
