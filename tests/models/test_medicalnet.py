"""MedicalNet's weights: an encoder filled with them answers as theirs did."""

import pickle

import pytest
import torch

from medicalnet_files import medicalnet_map, medicalnet_tensors, write_medicalnet
from napari_harm3.errors import ModelError
from napari_harm3.models.layers.medicalnet import load_medicalnet
from napari_harm3.models.layers.resnet3d import ResNet3d

WIDTH = 2
SHORTCUTS = {10: "projection", 18: "padding", 34: "padding", 50: "projection"}


def encoder(depth: int = 10, **choices) -> ResNet3d:
    fitting = {
        "depth": depth,
        "base_channels": WIDTH,
        "output_stride": (32, 32, 32),
        "stem": "isotropic",
        "shortcut": SHORTCUTS[depth],
    }
    return ResNet3d(**{**fitting, **choices}).eval()


@pytest.fixture
def path(tmp_path):
    return write_medicalnet(tmp_path / "resnet_10.pth", depth=10, width=WIDTH)


@pytest.mark.parametrize("depth", [10, 18, 34, 50])
def test_the_encoder_answers_as_theirs(tmp_path, depth: int) -> None:
    path = write_medicalnet(tmp_path / "resnet.pth", depth=depth, width=WIDTH)
    network, volume = encoder(depth), torch.randn(2, 1, 40, 64, 64)

    load_medicalnet(network, path)

    tensors = medicalnet_tensors(depth=depth, width=WIDTH)
    expected = medicalnet_map(tensors, volume, depth=depth)
    torch.testing.assert_close(network(volume), expected)


def test_equal_volumes_as_channels_answer_as_one(path) -> None:
    one, four = encoder(), encoder(in_channels=4)
    volume = torch.randn(2, 1, 32, 64, 64).double()

    load_medicalnet(one, path)
    load_medicalnet(four, path)

    four_maps = four.double()(volume.repeat(1, 4, 1, 1, 1))
    torch.testing.assert_close(four_maps, one.double()(volume))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"stem": "thin"}, r"in another shape conv1\.weight\."),
        ({"base_channels": 4}, r"in another shape bn1\.bias, .* more\."),
        ({"shortcut": "padding"}, r"has besides layer2\.0\.downsample\.0\.weight, "),
        ({"norm": "group"}, r"has besides bn1\.running_mean, "),
        ({"depth": 18, "shortcut": "padding"}, r"lacks layer1\.1\.bn1\.bias, "),
        ({"depth": 50}, r"lacks layer1\.0\.bn3\.bias, "),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_loaded(path, choices, said) -> None:
    network = encoder(**choices)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    with pytest.raises(ModelError, match=f"(?s){said}.*need.*stem 'isotropic'"):
        load_medicalnet(network, path)

    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_type_a_file_lacks_the_projections(tmp_path) -> None:
    path = write_medicalnet(tmp_path / "resnet_18.pth", depth=18, width=WIDTH)

    with pytest.raises(ModelError, match=r"lacks layer2\.0\.downsample\.0\.weight, "):
        load_medicalnet(encoder(18, shortcut="projection"), path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no weights at all",
        pickle.dumps({"state_dict": print}, protocol=2),
        pickle.dumps(["conv1.weight"], protocol=2),
    ],
)
def test_a_stray_file_is_refused(tmp_path, content: bytes) -> None:
    path = tmp_path / "stray.pth"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"stray\.pth cannot be read"):
        load_medicalnet(encoder(), path)
