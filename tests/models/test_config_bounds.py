"""What a network's choices may be is the same wherever they mean the same."""

from dataclasses import fields, replace

import pytest
from pydantic import ValidationError

from napari_harm3.models.baselines.fusion_config import SMALL_HMCAT
from napari_harm3.models.baselines.volume_config import SMALL_C3D, SMALL_RESNET3D
from napari_harm3.models.harm3.config import SMALL_HARM3
from napari_harm3.models.registry import MODELS

CONFIGS = {
    type(config): config for entry in MODELS.values() for config in entry.sizes.values()
}.values()
DROPOUTS = [
    (config, item.name)
    for config in CONFIGS
    for item in fields(config)
    if item.name.endswith("dropout")
]


@pytest.mark.parametrize(("config", "field"), DROPOUTS)
def test_no_dropout_takes_everything(config, field) -> None:
    assert getattr(replace(config, **{field: 0.99}), field) == 0.99
    with pytest.raises(ValidationError, match="less than 1"):
        replace(config, **{field: 1.0})


@pytest.mark.parametrize(
    ("config", "least", "largest"),
    [(SMALL_HARM3, 4, 32), (SMALL_RESNET3D, 4, 32), (SMALL_C3D, 2, 16)],
)
def test_a_map_is_as_coarse_as_its_network_can_make_it(config, least, largest) -> None:
    for side in (least, largest):
        assert replace(config, output_stride=(8, side, side))
    for side in (least // 2, 2 * largest):
        with pytest.raises(ValidationError, match="output_stride"):
            replace(config, output_stride=(8, side, side))


@pytest.mark.parametrize(
    ("config", "field", "told"),
    [
        (SMALL_HMCAT, "heads", "heads = 3 does not divide width = 64"),
        (SMALL_HARM3, "cross_heads", "= 3 does not divide 8 x base_channels = 64"),
    ],
)
def test_heads_that_leave_a_rest_are_told(config, field, told) -> None:
    with pytest.raises(ValidationError, match=told):
        replace(config, **{field: 3})
