"""The ResNet over four volumes, early and late, and where its weights come from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medicalnet_files import write_medicalnet
from model_cases import case_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.config import from_plain, to_plain
from napari_harm3.errors import ConfigError, ModelError
from napari_harm3.models.baselines.resnet3d import ResNet3dClassifier
from napari_harm3.models.baselines.volume_config import (
    SMALL_RESNET3D,
    ResNet3dConfig,
)

WIDTH = 2
MEDICALNET = ResNet3dConfig(
    depth=10, base_channels=WIDTH, output_stride=(4, 8, 8), stem="isotropic"
)


@pytest.mark.parametrize(("fusion", "features"), [("early", 512), ("late", 2048)])
def test_the_size_is_that_of_a_3d_resnet_18(fusion: str, features: int) -> None:
    with torch.device("meta"):
        network = ResNet3dClassifier(ResNet3dConfig(fusion=fusion))

    count = sum(weight.numel() for weight in network.parameters())

    assert network.head.in_features == features
    assert count / 1e6 == pytest.approx(33.16, rel=0.01)


def test_late_fusion_keeps_the_volumes_apart() -> None:
    network = ResNet3dClassifier(replace(SMALL_RESNET3D, fusion="late")).eval()
    batch = case_batch(2)
    mri = batch.mri.clone()
    mri[:, 1, 0] += 1  # t2_pre

    before = network(batch).feature_maps
    after = network(replace(batch, mri=mri)).feature_maps

    changed = [role for role in ROLES if not torch.equal(before[role], after[role])]
    assert changed == ["t2_pre"]


def test_early_fusion_has_one_map_of_all() -> None:
    maps = ResNet3dClassifier(SMALL_RESNET3D)(case_batch(2)).feature_maps

    assert tuple(maps) == ROLES
    assert all(one is maps["t1_pre"] for one in maps.values())


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_training_can_begin_with_weights_from_a_file(tmp_path, fusion: str) -> None:
    path = write_medicalnet(tmp_path / "resnet_10.pth", depth=10, width=WIDTH)
    network = ResNet3dClassifier(replace(MEDICALNET, fusion=fusion, weights=path))
    batch = case_batch(2)
    drawn = network.eval()(batch).logit

    network.load_pretrained()

    assert not torch.equal(network(batch).logit, drawn)


def test_a_trained_model_never_asks_for_the_file(tmp_path) -> None:
    config = replace(MEDICALNET, weights=tmp_path / "gone.pth")
    trained, fresh = ResNet3dClassifier(config), ResNet3dClassifier(config)

    fresh.load_state_dict(trained.state_dict())

    batch = case_batch(2)
    assert torch.equal(fresh.eval()(batch).logit, trained.eval()(batch).logit)
    with pytest.raises(ModelError, match=r"gone\.pth cannot be read"):
        fresh.load_pretrained()


def test_without_a_file_the_weights_stay_as_drawn() -> None:
    network = ResNet3dClassifier(SMALL_RESNET3D)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    network.load_pretrained()

    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_configuration_keeps_the_path_through_a_file() -> None:
    config = replace(MEDICALNET, weights=Path("weights.pth"))

    assert from_plain(ResNet3dConfig, to_plain(config), source="here") == config


def test_a_stride_that_the_stem_exceeds_is_refused() -> None:
    plain = {"stem": "isotropic", "output_stride": [2, 8, 8]}

    with pytest.raises(ConfigError, match="4 voxels along z"):
        from_plain(ResNet3dConfig, plain, source="here")
