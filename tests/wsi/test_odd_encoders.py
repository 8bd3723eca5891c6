"""Model folders that describe no model, and names that ask the network."""

import json
import socket
from dataclasses import replace

import pytest
from safetensors.torch import save_file

from napari_harm3.errors import ConfigError, FeatureError
from napari_harm3.wsi.config import EncoderConfig
from napari_harm3.wsi.encoder import load_encoder
from slide_files import TINY, assert_told

SOUND = {
    "architecture": "vit_tiny_patch16_224",
    "model_args": {"depth": 1},
    "pretrained_cfg": {"mean": [0.7, 0.5, 0.7], "std": [0.2, 0.3, 0.2]},
}


@pytest.fixture(scope="module")
def state():
    return load_encoder(TINY, "cpu")._network.state_dict()


@pytest.fixture
def folder(tmp_path, state):
    """Return a function that makes a model folder with a certain description."""

    def make(described):
        save_file(state, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(described))
        return EncoderConfig(weights=tmp_path)

    return make


def test_a_folder_says_how_pixels_are_normalised(folder):
    encoder = load_encoder(folder(SOUND), "cpu")

    said = json.loads(encoder.transform)
    assert said == {"size": 224, **SOUND["pretrained_cfg"]}


@pytest.mark.parametrize(
    "described",
    [
        [],
        ["vit_tiny_patch16_224"],
        "vit_tiny_patch16_224",
        None,
        3,
        {},
        {**SOUND, "pretrained_cfg": [1, 2]},
        {**SOUND, "model_args": 3},
        {**SOUND, "model_args": None},
    ],
)
def test_a_description_of_no_model_is_refused(folder, described):
    with pytest.raises(FeatureError) as told:
        load_encoder(folder(described), "cpu")

    assert_told(str(told.value), "config.json in", "describe", "fetch the folder again")


@pytest.mark.parametrize(
    "odd",
    [
        {"mean": [0.5, 0.5]},
        {"mean": ["a", "b", "c"]},
        {"mean": [0.5, 0.5, float("nan")]},
        {"mean": [[0.5], [0.5], [0.5]]},
        {"std": [0.5, 0.5, 0.0]},
        {"std": [0.5, 0.5, -1.0]},
        {"std": 0.5},
        {"input_size": [3, -224, -224]},
        {"input_size": [3, 0, 0]},
        {"input_size": [3, 999_999, 999_999]},
        {"input_size": ["wide"]},
        {"input_size": []},
        {"input_size": 224},
        {"input_size": [3, 100, 100]},
    ],
)
def test_pixels_that_no_model_takes_are_refused(folder, odd):
    described = {**SOUND, "pretrained_cfg": {**SOUND["pretrained_cfg"], **odd}}

    with pytest.raises((ConfigError, FeatureError)) as told:
        load_encoder(folder(described), "cpu")

    assert str(told.value).endswith(".")


@pytest.mark.parametrize(
    "name", ["hf-hub:bioptimus/H-optimus-0", "hf_hub:a/b", "HF-Hub:a/b", "hf-hub:"]
)
@pytest.mark.parametrize("described", [False, True])
def test_the_hub_is_asked_only_for_what_is_to_be_downloaded(
    folder, monkeypatch, name, described
):
    def connect(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", connect)
    config = (
        folder({**SOUND, "architecture": name})
        if described
        else replace(TINY, name=name)
    )

    with pytest.raises(ConfigError) as told:
        load_encoder(config, "cpu")

    assert "lies on the hub: add --pretrained" in str(told.value)
