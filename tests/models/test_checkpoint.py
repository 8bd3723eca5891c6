"""A checkpoint is what was saved, or it is refused."""

import json

import pytest
import torch
from torch import nn

from napari_harm3.errors import ModelError
from napari_harm3.models.checkpoint import (
    ABOUT,
    WEIGHTS,
    load_weights,
    read_about,
    save_checkpoint,
)


@pytest.fixture
def fold(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "run" / "fold-0"
    save_checkpoint(folder, nn.Linear(3, 2).state_dict(), {"fold": 0})
    return folder


def test_what_was_saved_is_loaded(tmp_path) -> None:
    saved, loaded = nn.Linear(3, 2), nn.Linear(3, 2)
    save_checkpoint(tmp_path, saved.state_dict(), {"fold": 4})

    about = read_about(tmp_path)
    load_weights(tmp_path, loaded, about["sha256"])

    assert about["fold"] == 4
    assert torch.equal(loaded.weight, saved.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == [ABOUT, WEIGHTS]


def test_weights_that_share_memory_are_saved_too(tmp_path) -> None:
    table = torch.arange(6.0).reshape(2, 3)

    save_checkpoint(tmp_path, {"weight": table.T, "same": table.T}, {})

    assert read_about(tmp_path)["sha256"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_damaged_weights_are_refused_by_name(fold, damage: str) -> None:
    path, about = fold / WEIGHTS, read_about(fold)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-9])
    else:
        path.write_bytes(b"" if damage == "empty" else content)

    with pytest.raises(ModelError, match=f"run/fold-0/{WEIGHTS}.*again"):
        load_weights(fold, nn.Linear(3, 2), about["sha256"])


def test_another_networks_weights_are_refused(fold) -> None:
    with pytest.raises(ModelError, match="another network"):
        load_weights(fold, nn.Linear(4, 2), read_about(fold)["sha256"])


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"fold": 0}', "\xff"])
def test_a_damaged_description_is_refused_by_name(fold, text: str | None) -> None:
    path = fold / ABOUT
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))

    with pytest.raises(ModelError, match=f"run/fold-0/{ABOUT}"):
        read_about(fold)


def test_the_description_names_the_weights_it_seals(fold) -> None:
    about = json.loads((fold / ABOUT).read_text())

    load_weights(fold, nn.Linear(3, 2), about["sha256"])
