"""Which GPU a process works on, and what it loads there."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from napari_harm3.errors import DeviceError
from napari_harm3.jobs import encoders, parallel
from napari_harm3.jobs.device import gpu_count, resolve_device
from napari_harm3.jobs.encoders import encoder_for
from napari_harm3.wsi.config import EncoderConfig


@pytest.fixture
def three_gpus(monkeypatch):
    """Let this machine seem to have three."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_workers_take_turns_at_the_gpus(monkeypatch, name):
    def of(number):
        monkeypatch.setattr(parallel._self, "number", number)
        return resolve_device(name)

    assert [of(number) for number in range(5)] == [
        "cuda:0",
        "cuda:1",
        "cuda:2",
        "cuda:0",
        "cuda:1",
    ]


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_is_named_is_taken_by_all(monkeypatch):
    monkeypatch.setattr(parallel._self, "number", 1)

    assert resolve_device("cuda:2") == "cuda:2"
    assert resolve_device("cpu") == "cpu"
    assert [gpu_count(name) for name in ("auto", "cuda:2", "cpu")] == [3, 1, 0]


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("name", ["cuda:3", "cuda:-1", "gpu", "mps", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(DeviceError, match=f"'{name}'"):
        resolve_device(name)


def test_threads_share_one_encoder(monkeypatch):
    monkeypatch.setattr(encoders, "_loaded", {})
    config = EncoderConfig(name="vit_tiny_patch16_224", depth=1)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(partial(encoder_for, config), ["cpu"] * 4))

    assert all(one is found[0] for one in found)
