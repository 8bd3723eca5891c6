"""Section 3.1: five folds, 80/20, by patient; here stratified and seeded."""

from collections import Counter
from dataclasses import replace

import pytest

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.splits import assign_folds, inner_split
from napari_harm3.errors import CohortError


def cases(positive, negative, **options):
    labels = [1] * positive + [0] * negative
    return [
        Case(case_id=f"C{n}", row=n + 2, pcr=label, **options)
        for n, label in enumerate(labels)
    ]


def test_each_fold_holds_a_fifth_of_each_class():
    patients = cases(122, 285)
    folds = assign_folds(patients, folds=5, seed=0)

    held = Counter((folds[c.case_id], c.pcr) for c in patients)

    assert set(folds) == {c.case_id for c in patients}
    for fold in range(5):
        assert 24 <= held[fold, 1] <= 25
        assert held[fold, 0] == 57
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_the_same_seed_gives_the_same_folds_whatever_the_order():
    patients = cases(20, 40)
    one = assign_folds(patients, folds=5, seed=1)

    assert one == assign_folds(patients[::-1], folds=5, seed=1)
    assert one != assign_folds(patients, folds=5, seed=2)


def test_given_folds_win_and_must_be_whole():
    given = [Case(case_id=f"C{n}", row=n, pcr=n % 2, fold=n % 3) for n in range(12)]
    assert assign_folds(given, folds=5, seed=0) == {f"C{n}": n % 3 for n in range(12)}
    with pytest.raises(CohortError, match="blank for X"):
        assign_folds([*given, Case(case_id="X", row=20, pcr=1)], folds=5, seed=0)


def test_test_cases_and_unlabelled_ones_are_in_no_fold():
    patients = cases(10, 10)
    patients += [Case(case_id="T", row=50, pcr=1, split="test")]
    patients += [Case(case_id="U", row=51)]
    assert not {"T", "U"} & set(assign_folds(patients, folds=5, seed=0))


def test_too_few_cases_of_a_class_are_refused():
    with pytest.raises(CohortError, match="Only 3 cases have pcr 1"):
        assign_folds(cases(3, 20), folds=5, seed=0)


def test_the_inner_part_is_stratified_and_apart_from_what_is_fitted():
    labelled = cases(96, 224)
    fitted, inner = inner_split(labelled, fraction=0.125, seed=0)

    assert not set(fitted) & set(inner)
    assert set(fitted) | set(inner) == {case.case_id for case in labelled}
    assert sum(case.pcr for case in labelled if case.case_id in inner) == 12
    assert len(inner) == 40


def test_all_cases_of_a_patient_are_on_one_side_of_the_inner_split():
    labelled = [
        replace(case, extra={"patient_id": f"P{number // 2}"})
        for number, case in enumerate(cases(40, 40))
    ]
    sides = inner_split(labelled, fraction=0.25, seed=0)

    fitted, inner = ({c.patient for c in labelled if c.case_id in s} for s in sides)
    assert not fitted & inner
    assert len(inner) == 10


def test_all_cases_of_a_patient_share_a_fold():
    patients = cases(20, 20)
    twins = [
        Case(case_id=f"{c.case_id}-2", row=100, pcr=c.pcr, extra={"patient_id": "C3"})
        for c in patients[3:4]
    ]
    folds = assign_folds([*patients, *twins], folds=5, seed=0)

    assert folds["C3-2"] == folds["C3"]
