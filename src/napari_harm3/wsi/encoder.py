"""The vision transformer that turns patches into features (section 2.3)."""

import hashlib
import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_harm3.errors import ConfigError, FeatureError
from napari_harm3.wsi.config import EncoderConfig

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a local model folder holds, by preference."""


class Encoder:
    """A timm model in evaluation mode, with its own normalisation.

    Features do not depend on which patches share a batch.
    """

    def __init__(self, config: EncoderConfig, network: nn.Module, device: str) -> None:
        self.name = config.name
        if config.depth is not None:
            self.name += f" (depth {config.depth})"
        self.untrained = config.untrained
        self.batch = config.batch
        self.device = device
        self.dim = int(network.num_features)  # type: ignore[arg-type]
        data = timm.data.resolve_model_data_config(network)
        self.size = int(data["input_size"][-1])
        self._mean, self._std = (
            torch.tensor(data[key], device=device).view(1, 3, 1, 1)
            for key in ("mean", "std")
        )
        self.transform = json.dumps(
            {
                "size": self.size,
                "mean": [round(float(v), 6) for v in data["mean"]],
                "std": [round(float(v), 6) for v in data["std"]],
            }
        )
        self.weights_sha256 = _digest(network)
        self._network = network.eval().to(device)

    @torch.inference_mode()
    def encode(self, patches: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n D"]:
        """Return the features of patches."""
        pixels = torch.from_numpy(patches).to(self.device)
        pixels = pixels.permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != self.size:
            pixels = nn.functional.interpolate(
                pixels, size=self.size, mode="bilinear", antialias=True
            )
        features: Tensor = self._network((pixels - self._mean) / self._std)
        return features.float().cpu().numpy()


def load_encoder(config: EncoderConfig, device: str) -> Encoder:
    """Return an encoder; without weights it is drawn from seed 0, untrained.

    Raises
    ------
    ConfigError
        If timm has no model of that name, or weights are to be downloaded and the
        network cannot be reached.
    FeatureError
        If the weights cannot be read, or do not fit the model.
    """
    options: dict[str, Any] = {"num_classes": 0}
    if config.depth is not None:
        options["depth"] = config.depth
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _created(config, options)
    if config.weights is not None:
        _fill(network, config.weights)
    return Encoder(config, network, device)


def _created(config: EncoderConfig, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(config.name, pretrained=config.pretrained, **options)
    except (OSError, ConnectionError) as error:
        raise ConfigError(
            f"The weights of {config.name} cannot be downloaded from here: give them "
            "as a file or folder with --weights."
        ) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"timm cannot make '{config.name}': name a vision transformer of timm, "
            "such as vit_base_patch16_224."
        ) from error


def _fill(network: nn.Module, weights: Path) -> None:
    path = weights
    if weights.is_dir():
        found = [weights / name for name in WEIGHT_FILES if (weights / name).exists()]
        if not found:
            raise FeatureError(
                f"{weights.name} holds none of {', '.join(WEIGHT_FILES)}."
            )
        path = found[0]
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise FeatureError(
            f"{path.name} cannot be read as weights (.safetensors, or a plain PyTorch "
            "state): check the file."
        ) from error
    except UnpicklingError as error:
        raise FeatureError(
            f"{path.name} holds more than weights and is not opened: convert it to "
            ".safetensors."
        ) from error
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    wrong = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    if missing or wrong:
        raise FeatureError(
            f"{path.name} does not fit the encoder: {len(missing)} weights are missing "
            f"and {len(wrong)} have another shape, first {(missing + wrong)[0]}."
        )
    network.load_state_dict({name: state[name] for name in expected})


def _digest(network: nn.Module) -> str:
    """Return the SHA-256 of names, shapes and values, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
