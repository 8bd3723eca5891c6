"""Weights on disk: safetensors beside JSON, known by their SHA-256."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from napari_harm3.artifacts import sha256_of, write_bytes, write_json
from napari_harm3.errors import ModelError

WEIGHTS, ABOUT = "best.safetensors", "best.json"


def save_checkpoint(
    folder: Path, weights: dict[str, Tensor], about: dict[str, Any]
) -> None:
    """Write weights and what belongs to them; the JSON, written last, seals both."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()
    }
    write_bytes(folder / WEIGHTS, save(tensors))
    write_json(folder / ABOUT, about | {"sha256": sha256_of(folder / WEIGHTS)})


def read_about(folder: Path) -> dict[str, Any]:
    """Return the JSON of a checkpoint.

    Raises
    ------
    ModelError
        If it is missing or no JSON object.
    """
    path = folder / ABOUT
    where = f"{folder.parent.name}/{folder.name}/{ABOUT}"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{where} does not exist: give a run folder that was trained to its end."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{where} cannot be read: copy it again, or train it again."
        ) from error
    if not isinstance(about, dict) or "sha256" not in about:
        raise ModelError(f"{where} does not describe a checkpoint: train it again.")
    return about


def load_weights(folder: Path, network: nn.Module, sha256: str) -> None:
    """Fill a network with a checkpoint's weights.

    Raises
    ------
    ModelError
        If the file is missing, was changed, or holds another network.
    """
    path = folder / WEIGHTS
    where = f"{folder.parent.name}/{folder.name}/{WEIGHTS}"
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                f"{where} is not the file that was saved (its SHA-256 differs): "
                "copy it again, or train it again."
            )
        network.load_state_dict(load(content))
    except FileNotFoundError as error:
        raise ModelError(
            f"{where} does not exist: copy it again, or train it again."
        ) from error
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{where} cannot be read: copy it again, or train it again."
        ) from error
    except RuntimeError as error:  # torch lists every name that does not fit
        raise ModelError(
            f"{where} holds the weights of another network than its run.toml says."
        ) from error
