"""Columns of the cohort table as numbers."""

import numpy as np
import pytest
import torch

from napari_harm3.cohort.case import Case
from napari_harm3.config import from_plain, to_plain
from napari_harm3.data.clinical import ClinicalEncoding, clinical_encoding
from napari_harm3.models.layers.patch_scale import ClinicalScale
from napari_harm3.training.scaling import mean_and_spread

ROWS = [
    {"age": "50", "stage": "II", "note": ""},
    {"age": " 60 ", "stage": "IV"},
    {"age": "", "stage": ""},
    {"age": "70", "stage": "IV"},
]
CASES = [Case(case_id=f"C{n}", row=n, extra=row) for n, row in enumerate(ROWS)]
NAMES = ("age", "stage", "note", "absent")


def test_numbers_stay_numbers_and_words_stand_for_themselves():
    encoding = clinical_encoding(CASES, NAMES)

    assert [column.name for column in encoding.columns] == ["age", "stage"]
    assert encoding.width == 2 + 3
    np.testing.assert_array_equal(encoding.of(CASES[0]), [50, 0, 1, 0, 0])
    np.testing.assert_array_equal(encoding.of(CASES[2]), [np.nan, 1, np.nan, np.nan, 1])


def test_a_value_that_was_never_seen_is_as_good_as_blank():
    encoding = clinical_encoding(CASES, NAMES)
    stranger = Case(case_id="X", row=9, extra={"age": "old", "stage": "V"})

    np.testing.assert_array_equal(encoding.of(stranger), encoding.of(CASES[2]))


def test_one_word_among_numbers_makes_words_of_all():
    cases = [*CASES, Case(case_id="X", row=9, extra={"age": "over 80"})]

    column = clinical_encoding(cases, ("age",)).columns[0]

    assert column.categories == ("50", "60", "70", "over 80")


def test_it_travels_as_json():
    encoding = clinical_encoding(CASES, NAMES)

    assert from_plain(ClinicalEncoding, to_plain(encoding), source="t") == encoding


def test_what_is_not_known_stands_at_the_mean_of_what_is():
    rows = np.stack([clinical_encoding(CASES, NAMES).of(case) for case in CASES])
    scale = ClinicalScale(rows.shape[1])

    scale.fit(*mean_and_spread(list(rows[:, None])))
    scaled = scale(torch.from_numpy(rows))

    assert scaled.isfinite().all()
    assert scaled[2, 0] == 0
    assert scaled[[0, 1, 3], 0].mean() == pytest.approx(0, abs=1e-6)
    assert scaled[[0, 1, 3], 0].std(correction=0) == pytest.approx(1)
