"""The vision transformer that turns patches into features (section 2.3)."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import SwiGLUPacked
from torch import Tensor, nn

from napari_harm3.errors import ConfigError, FeatureError
from napari_harm3.wsi.config import EncoderConfig
from napari_harm3.wsi.features import UNREADABLE

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a local model folder holds, by preference."""

MOST_PIXELS = 4096
"""No model takes larger pictures along one side."""

NO_INPUT = (
    "config.json of {} states an input size, a mean or a deviation that it cannot "
    "have: fetch the folder again."
)
HALF: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CLOSE = 0.999
"""Least cosine between features of half and of full precision in the probe."""

WORTH_IT = 1.2
"""Half precision has to be this much faster in the probe."""


class Encoder:
    """A timm model in evaluation mode, with its own normalisation.

    Features do not depend on which patches share a batch. A model that returns tokens
    gives the class token beside the mean of the patches' tokens.
    """

    def __init__(self, config: EncoderConfig, network: nn.Module, device: str) -> None:
        self.name = config.name
        if config.depth is not None:
            self.name += f" (depth {config.depth})"
        self.untrained = config.untrained
        self.batch = config.batch
        self.device = device
        self.size, mean, std = _input_of(network, config.name)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (mean, std)
        )
        self.transform = json.dumps(
            {
                "size": self.size,
                "mean": [round(value, 6) for value in mean],
                "std": [round(value, 6) for value in std],
            }
        )
        self.weights_sha256 = _digest(network)
        self._network = network.eval().to(device)
        self.precision = "float32"
        blank = np.zeros((1, self.size, self.size, 3), np.uint8)
        try:
            self.dim = self.encode(blank).shape[1]
        except AssertionError as error:
            raise FeatureError(NO_INPUT.format(config.name)) from error
        self.precision = (
            self._probed() if config.precision == "auto" else config.precision
        )

    @property
    def attributes(self) -> dict[str, str]:
        """What a bag says of the encoder that made it."""
        return {
            "encoder": self.name,
            "weights_sha256": self.weights_sha256,
            "transform": self.transform,
            "precision": self.precision,
        }

    @torch.inference_mode()
    def encode(self, patches: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n D"]:
        """Return the features of patches, float32 whatever they were made in."""
        pixels = torch.from_numpy(patches).to(self.device, non_blocking=True)
        pixels = pixels.permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != self.size:
            pixels = nn.functional.interpolate(
                pixels, size=self.size, mode="bilinear", antialias=True
            )
        half = HALF.get(self.precision)
        with torch.autocast(
            torch.device(self.device).type, half, enabled=half is not None
        ):
            features: Tensor = self._network((pixels - self._mean) / self._std)
        if features.ndim == 3:
            patches_from = int(self._network.num_prefix_tokens)  # type: ignore[arg-type]
            features = torch.cat(
                [features[:, 0], features[:, patches_from:].mean(dim=1)], dim=1
            )
        return features.float().cpu().numpy()

    def _probed(self) -> str:
        """Return the precision to calculate with on this device."""
        if torch.device(self.device).type != "cuda":
            return "float32"
        half = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        shape = self.batch, self.size, self.size, 3
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

        def encode(precision: str) -> Float[np.ndarray, "n D"]:
            self.precision = precision
            return self.encode(noise)

        return faster_and_close(encode, half)


def faster_and_close(
    encode: Callable[[str], Float[np.ndarray, "n D"]],
    half: str,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """Return a half precision if it is worth it and changes little, else float32."""

    def timed(precision: str) -> tuple[float, Float[np.ndarray, "n D"]]:
        encode(precision)  # the first call also sets things up
        started = clock()
        features = encode(precision)
        return clock() - started, features

    (full_seconds, full), (half_seconds, rough) = timed("float32"), timed(half)
    norms = np.linalg.norm(full, axis=1) * np.linalg.norm(rough, axis=1)
    cosine = (full * rough).sum(axis=1) / np.maximum(norms, 1e-12)
    close = bool(np.isfinite(rough).all() and cosine.min() >= CLOSE)
    return half if close and full_seconds >= WORTH_IT * half_seconds else "float32"


def load_encoder(config: EncoderConfig, device: str) -> Encoder:
    """Return an encoder; without weights it is drawn from seed 0, untrained.

    A folder as the hub keeps it (weights beside ``config.json``) also says which
    architecture it is of and how pixels are normalised, and wins over the name.

    Raises
    ------
    ConfigError
        If timm has no model of that name, or weights are to be downloaded and the
        network cannot be reached.
    FeatureError
        If the weights cannot be read, or do not fit the model.
    """
    name, options = _described(config)
    state = {} if config.weights is None else _read_state(config.weights)
    if _is_gated(state):
        options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _created(name, config.pretrained, options)
    if config.weights is not None:
        _fill(network, state, config.weights.name)
    return Encoder(replace(config, name=name), network, device)


def _described(config: EncoderConfig) -> tuple[str, dict[str, Any]]:
    """Return the name and options of a model, as its folder or its user says."""
    options: dict[str, Any] = {"num_classes": 0}
    if config.depth is not None:
        options["depth"] = config.depth
    described = config.weights / "config.json" if config.weights else None
    if described is None or not described.exists():
        return config.name, options
    try:
        said = json.loads(described.read_text())
        options |= {**said.get("model_args", {}), "num_classes": 0}
        options["pretrained_cfg"] = dict(said.get("pretrained_cfg", {}))
        return str(said["architecture"]), options
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatureError(
            f"config.json in {described.parent.name} does not describe a timm model: "
            "fetch the folder again."
        ) from error


def _created(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    # Of such a model timm asks the hub even what it is.
    if name.lower().replace("_", "-").startswith("hf-hub") and not pretrained:
        raise ConfigError(
            f"'{name}' lies on the hub: add --pretrained to download it, or give its "
            "folder with --weights."
        )
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:
        raise ConfigError(
            f"The weights of {name} cannot be downloaded from here: give them "
            "as a file or folder with --weights."
        ) from error
    except (*UNREADABLE, ArithmeticError) as error:
        raise ConfigError(
            f"timm cannot make '{name}': name a vision transformer of timm, "
            "such as vit_base_patch16_224."
        ) from error


def _input_of(network: nn.Module, name: str) -> tuple[int, list[float], list[float]]:
    """Return the side of the pictures that a model takes, and their mean and deviation.

    Raises
    ------
    FeatureError
        If its ``config.json`` says what cannot be.
    """
    try:
        data = timm.data.resolve_model_data_config(network)
        size = int(data["input_size"][-1])
        mean, std = ([float(v) for v in data[key]] for key in ("mean", "std"))
    except (*UNREADABLE, ArithmeticError) as error:
        raise FeatureError(NO_INPUT.format(name)) from error
    finite = len(mean) == len(std) == 3 and np.isfinite([*mean, *std]).all()
    if not finite or min(std) <= 0 or not 0 < size <= MOST_PIXELS:
        raise FeatureError(NO_INPUT.format(name))
    return size, mean, std


def _read_state(weights: Path) -> Mapping[str, Tensor]:
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
        return {str(name): tensor for name, tensor in state.items() if tensor.numel()}
    except UnpicklingError as error:
        raise FeatureError(
            f"{path.name} holds more than weights and is not opened: convert it to "
            ".safetensors."
        ) from error
    except (*UNREADABLE, SafetensorError) as error:
        raise FeatureError(
            f"{path.name} cannot be read as weights (.safetensors, or a plain PyTorch "
            "state): check the file."
        ) from error


def _is_gated(state: Mapping[str, Tensor]) -> bool:
    """Return whether a transformer's MLP is SwiGLU, which `config.json` never says.

    Its first layer makes values and gates, so it is twice as wide as the second takes.
    """
    first = state.get("blocks.0.mlp.fc1.weight")
    second = state.get("blocks.0.mlp.fc2.weight")
    if first is None or second is None:
        return False
    return first.shape[0] == 2 * second.shape[1]


def _fill(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    wrong = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    if missing or wrong:
        raise FeatureError(
            f"{name} does not fit the encoder: {len(missing)} weights are missing "
            f"and {len(wrong)} have another shape, first {(missing + wrong)[0]}."
        )
    network.load_state_dict({key: state[key] for key in expected})


def _digest(network: nn.Module) -> str:
    """Return the SHA-256 of names, shapes and values, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
