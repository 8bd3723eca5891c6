"""The model card says what a method looks at, and nothing of what it does not."""

import pytest

from napari_harm3.config import write_toml
from napari_harm3.training.config import RunConfig
from napari_harm3.training.run import write_card

ORIGIN = {
    "trained_on": "study",
    "made_up": False,
    "untrained_encoder": True,
    "features": {"encoder": "vit_tiny"},
}
METRICS = {
    "auc": {"mean": 0.7, "ci95": [0.6, 0.8]},
    "n": 12,
    "prevalence": 0.25,
    "majority_acc": 0.75,
}
VOLUMES = ("MRI before", "* Volumes:", "not registered", "voxels of")
SLIDE = ("biopsy slide", "* Slide:", "patches of 224 pixels", "vit_tiny, untrained")
CLINICAL = ("clinical columns", "* Clinical columns: age, sex")


@pytest.mark.parametrize(
    ("method", "seen", "unseen"),
    [
        ("harm3", VOLUMES + SLIDE, CLINICAL),
        ("c3d", VOLUMES, SLIDE + CLINICAL),
        ("clam-sb", SLIDE, VOLUMES + CLINICAL),
        ("clinical", CLINICAL, VOLUMES + SLIDE),
        ("majority", ("nothing of the case",), VOLUMES + SLIDE + CLINICAL),
        ("harm3-clinical", VOLUMES + SLIDE + CLINICAL, ()),
    ],
)
def test_inputs_are_those_of_the_method(tmp_path, method, seen, unseen):
    write_toml(tmp_path / "run.toml", RunConfig.of(method, "small"))

    write_card(tmp_path, ORIGIN, METRICS)

    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert all(words in card for words in seen)
    assert not any(words in card for words in unseen)
