"""What a structure's name says it is."""

import pytest

from napari_harm3.mri.labels import label_named


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("GTVp", 1),
        ("Tumour, non-enhancing part", 1),
        ("Non-enhancing tumor", 1),
        ("Tumor No. 2", 1),
        ("Tumor without oedema", 1),
        ("GTV, no nodes", 1),
        ("Lymph node no 3", 2),
        ("No tumor", None),
        ("no residual tumour", None),
        ("Non-tumour tissue", None),
        ("not a lesion", None),
        ("without nodes", None),
        ("Kein Tumor", None),
        ("CTV 60", None),
    ],
)
def test_a_name_means_what_it_says_and_not_what_it_denies(name, label):
    assert label_named(name) == label
