"""Tables 1 and 2 as printed, and every figure that they imply."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_harm3.errors import TrainingError
from napari_harm3.experiments.published import (
    CASES,
    MAJORITY_ACC,
    POSITIVES,
    PREVALENCE,
    TABLE_1,
    TABLE_2,
    caveats,
    general_caveats,
    hanley_mcneil,
    published,
)
from napari_harm3.models.registry import model_entry
from napari_harm3.training.calibration import pooled
from napari_harm3.training.metrics import FoldScores, auc, figures

IMPLIED = """
3D-CNN         .6854 .5862 +.0992 .5357 .4302 .5527 .5881 +.0205
ResNet         .6914 .6344 +.0570 .5879 .4742 .5970 .5218 -.0884
3D-RPNet       .7365 .6929 +.0436 .6578 .5530 .6596 .7059 +.0299
CLAM           .7020 .6504 +.0516 .6121 .5185 .6220 .6202 -.0238
TransMIL       .6914 .6140 +.0774 .5745 .4832 .5876 .6132 +.0027
HMCAT          .7479 .7069 +.0410 .6741 .5675 .6729 .6968 +.0086
M2Fusion       .7256 .7130 +.0126 .6812 .5742 .6789 .6905 -.0032
Ours           .8272 .7691 +.0581 .7541 .6307 .7313 .7581 +.0209
no LD-VAE      .6829 .6941 -.0112 .6586 .5381 .6547 .6258 -.0398
no Attention-1 .7784 .7185 +.0599 .6888 .5694 .6801 .6917 +.0011
no Attention-2 .7931 .7473 +.0458 .7206 .6089 .7111 .7195 -.0017
LD-VAE only    .7502 .7119 +.0383 .6812 .5563 .6715 .6810 +.0004
full           .8272 .7811 +.0461 .7649 .6564 .7479 .7581 +.0009
"""
"""ACC, implied, difference; F1, of pCR, macro; AUC, less the balanced accuracy."""

ROWS = (*TABLE_1, *TABLE_2)


@pytest.mark.parametrize(
    ("row", "line"),
    zip(ROWS, IMPLIED.strip().splitlines(), strict=True),
    ids=[row.title for row in ROWS],
)
def test_every_implied_figure_is_computed_to_its_printed_digits(row, line):
    *_, acc, implied, gap, f1, f1_yes, f1_macro, area, above = line.split()

    assert line.startswith(row.title)
    assert (row.acc, row.f1, row.auc) == (float(acc), float(f1), float(area))
    assert f"{row.implied_acc:.4f}" == f"0{implied}"
    assert f"{row.implied_f1:.4f}" == f"0{f1_yes}"
    assert f"{row.implied_f1_macro:.4f}" == f"0{f1_macro}"
    assert f"{row.acc - row.implied_acc:+.4f}" == gap.replace(".", "0.")
    assert row.auc_above_balanced == pytest.approx(float(above), abs=0.51e-4)


def test_the_counts_are_the_paper_s():
    assert (POSITIVES, CASES) == (122, 407)
    assert f"{PREVALENCE:.4f}" == "0.2998"
    assert f"{MAJORITY_ACC:.4f}" == "0.7002"


def test_what_the_figures_say_about_themselves():
    assert sum(row.acc_outside for row in ROWS) == 10
    gaps = [abs(row.acc - row.implied_acc) for row in ROWS]
    assert np.mean(gaps) == pytest.approx(0.049, abs=5e-4)
    near = [abs(row.auc_above_balanced) for row in ROWS]
    assert sum(gap <= 0.003 for gap in near) == 5
    assert sum(gap <= 0.009 for gap in near) == 7
    macro = [abs(row.f1 - row.implied_f1_macro) for row in ROWS]
    assert np.mean(macro) == pytest.approx(0.0097, abs=5e-5)
    assert np.mean([row.f1 - row.implied_f1 for row in ROWS]) == pytest.approx(
        0.110, abs=5e-4
    )
    assert sum(row.acc < MAJORITY_ACC for row in ROWS) == 4


def test_four_of_twelve_models_print_the_accuracy_of_one_fold():
    found = {row.acc: row.one_fold for row in ROWS if row.one_fold}

    assert found == {0.8272: (67, 81), 0.6914: (56, 81), 0.6829: (56, 82)}
    models = {row.title for row in ROWS[:-1] if row.one_fold}
    assert models == {"Ours", "ResNet", "TransMIL", "no LD-VAE"}


def test_the_text_s_gains_come_out_of_the_full_row_of_table_2():
    full = published("harm3", table=2)
    without, first, second, alone = TABLE_2[:4]

    gains = [
        full.f1 - without.f1,
        full.sen - without.sen,
        full.auc - first.auc,
        full.auc - second.auc,
        full.auc - alone.auc,
    ]

    printed = [0.106, 0.1033, 0.0664, 0.0386, 0.0771]
    np.testing.assert_allclose(gains, printed, atol=4e-4)


def test_the_printed_auc_has_the_error_that_hanley_and_mcneil_give():
    assert hanley_mcneil(0.7581, 122, 285) == pytest.approx(0.028, abs=5e-4)
    assert hanley_mcneil(0.7581, 24, 57) == pytest.approx(0.063, abs=5e-4)


def test_table_2_turns_one_switch_at_a_time_but_for_the_last():
    on = [model_entry(row.method).sizes["full"] for row in TABLE_2]

    assert [(one.ld_vae, one.attention_1, one.attention_2) for one in on] == [
        (False, True, True),
        (True, False, True),
        (True, True, False),
        (True, False, False),
        (True, True, True),
    ]


def test_a_method_without_a_row_has_none():
    assert published("clam-sb").title == "CLAM"
    assert published("abmil") is None


def test_every_row_says_why_it_is_reported():
    for row in ROWS:
        assert caveats(row), row.title
        assert row.reported.caveats == tuple(caveats(row))
    said = " ".join(caveats(TABLE_1[-1]))
    assert "outside [0.6578, 0.8167]" in said
    assert "67/81" in said
    assert "Table 2 prints F1 0.7649 and SEN 0.6978" in said
    assert "hard labels" in " ".join(caveats(TABLE_2[-1]))
    below = [row.title for row in ROWS if "concave" in " ".join(caveats(row))]
    assert below == ["ResNet", "CLAM", "no LD-VAE"]
    assert "In 10 of 13" in general_caveats()[1]


@st.composite
def folds(draw: st.DrawFn) -> list[FoldScores]:
    """Any scores on any labels of both classes."""
    made = []
    for size in draw(st.lists(st.integers(2, 30), min_size=1, max_size=5)):
        label = draw(arrays.arrays(np.int64, size, elements=st.integers(0, 1)))
        label[:2] = 0, 1
        score = draw(arrays.arrays(np.float64, size, elements=st.floats(0.01, 0.99)))
        made.append(FoldScores(label=label, score=score))
    return made


@settings(deadline=None, max_examples=40)
@given(made=folds(), threshold=st.floats(0, 1))
def test_accuracy_is_sen_and_spe_by_prevalence_whatever_the_scores(made, threshold):
    for label, score in [*((f.label, f.score) for f in made), pooled(made)]:
        found, share = figures(label, score, threshold), label.mean()

        mixed = share * found["sen"] + (1 - share) * found["spe"]
        assert abs(found["acc"] - mixed) < 1e-9


@settings(deadline=None, max_examples=30)
@given(label=arrays.arrays(np.int64, 8, elements=st.integers(0, 1)))
def test_auc_refuses_hard_labels_whatever_the_cases(label):
    with pytest.raises(TrainingError, match="hard labels"):
        auc(label, (np.arange(8) % 2).astype(float))
