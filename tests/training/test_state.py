"""A saved state that cannot be written, or gone on from, is said in a sentence."""

import json
import shutil
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file

from model_cases import TINY_PATCH_WIDTH
from napari_harm3.errors import TrainingError
from napari_harm3.models.registry import build_model
from napari_harm3.training.loop import Engine
from napari_harm3.training.state import Progress, State, save_state, state_folders
from training_cases import made_up_item, tiny_run

CASES = [made_up_item(number) for number in range(4)]


def fit(folder, epochs):
    config = tiny_run(epochs=epochs)
    network = build_model(
        config.method,
        config.model,
        volume_size=config.inputs.mri.size,
        patch_width=TINY_PATCH_WIDTH,
    )
    engine = Engine(
        network,
        config,
        fold=0,
        patch_width=TINY_PATCH_WIDTH,
        device="cpu",
        folder=folder,
    )
    for _ in engine.fit(CASES, []):
        pass


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the last state of a fit of one epoch."""
    folder = tmp_path_factory.mktemp("saved") / "fold-0"
    fit(folder, epochs=1)
    return state_folders(folder)[-1]


def progress(**fields):
    def change(state):
        path = state / "progress.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def optimizer(change):
    def changed(state):
        kept = torch.load(state / "optimizer.pt", weights_only=True)
        torch.save(change(kept), state / "optimizer.pt")

    return changed


def another_shape(kept):
    first = kept["optimizer"]["state"][0]
    first["exp_avg"] = torch.zeros(first["exp_avg"].numel() + 1)
    return kept


def other_weights(name):
    return lambda state: save_file({"other": torch.zeros(2)}, state / name)


DAMAGE = {
    "progress is a list": lambda state: (state / "progress.json").write_text("[]"),
    "progress is of another step": progress(steps=99),
    "progress says more than there is": progress(unknown=1),
    "epoch is a word": progress(epoch="x"),
    "epoch is missing": progress(epoch=None),
    "history is a number": progress(history=5),
    "optimizer is a list": optimizer(lambda _: [1]),
    "optimizer is another's": optimizer(lambda _: {"a": 1}),
    "optimizer is of another shape": optimizer(another_shape),
    "network is another": other_weights("network.safetensors"),
    "average is another's": other_weights("average.safetensors"),
    "best is another's": other_weights("best.safetensors"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_state_that_does_not_fit_is_named(saved, tmp_path, damage):
    folder = tmp_path / "fold-0"
    damage(shutil.copytree(saved, folder / saved.name))

    with pytest.raises(TrainingError, match=rf"^fold-0/{saved.name} cannot be read"):
        fit(folder, epochs=2)


@contextmanager
def files_of_at_most(size):
    """Let the disk be full once a file holds so many bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("large", ["network", "optimizer"])
def test_a_full_disk_is_an_error_of_the_disk(tmp_path, large):
    weights = {name: {"w": torch.zeros(4)} for name in ("network", "optimizer")}
    weights[large] = {"w": torch.zeros(100_000)}
    state = State(
        progress=Progress(),
        network=weights["network"],
        average={},
        best=None,
        optimizer=weights["optimizer"],
    )

    with files_of_at_most(50_000), pytest.raises(OSError, match="File too large"):
        save_state(tmp_path, state)

    assert state_folders(tmp_path) == []
