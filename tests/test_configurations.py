"""What a configuration refuses is told in one sentence, wherever it comes from."""

from pathlib import Path

import pytest

from napari_harm3.config import changed, read_toml
from napari_harm3.errors import ConfigError
from napari_harm3.training.config import RunConfig
from napari_harm3.wsi.config import EncoderConfig


def test_a_configuration_is_changed_and_its_bounds_hold():
    config = changed(EncoderConfig(), batch=2, weights=Path("vit.safetensors"))

    assert config == EncoderConfig(batch=2, weights=Path("vit.safetensors"))
    with pytest.raises(ConfigError, match=r"^the options: batch: Input should be gr"):
        changed(config, batch=0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("folds = 1", "run.toml: folds: Input should be greater than or equal to 2"),
        ("seed = 1979-05-27", "run.toml: seed: Input should be a valid integer"),
        ("folds", "run.toml is not a TOML file: "),
        (None, "run.toml: No such file or directory: check that it is there."),
    ],
)
def test_a_file_that_is_not_right_is_named_and_not_located(tmp_path, text, told):
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigError) as met:
        read_toml(path, RunConfig)

    assert str(met.value).startswith(told)
    assert str(tmp_path) not in str(met.value)
