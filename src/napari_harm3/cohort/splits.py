"""The folds: by patient, stratified by label (sections 3.1 and 3.2 of the paper)."""

import random
from collections.abc import Iterable, Sequence

from napari_harm3.cohort.case import Case
from napari_harm3.errors import CohortError


def assign_folds(cases: Sequence[Case], *, folds: int, seed: int) -> dict[str, int]:
    """Return the fold that holds out each labelled case; test cases have none.

    Folds given in the table win over drawn ones. All cases of a patient
    (``patient_id``) share a fold; drawn, by the label of the first of them.

    Raises
    ------
    CohortError
        If only some cases have a given fold, the given folds are not 0 to K-1 or
        split a patient, one holds out a single class, or there are fewer cases of a
        class than folds.
    """
    fitted = [case for case in cases if case.pcr is not None and case.split != "test"]
    given = [case for case in fitted if case.fold is not None]
    if given:
        return _given(fitted, given)
    dealt: dict[str, int] = {}
    for label in (0, 1):
        members = _patients(fitted, label)
        if len(members) < folds:
            raise CohortError(
                f"Only {len(members)} cases have pcr {label}, too few for {folds} "
                "folds: ask for fewer folds, or add cases."
            )
        random.Random(f"{seed}/{label}").shuffle(members)
        # The second class is dealt from the other end, so that sizes stay even.
        order = range(folds) if label == 0 else range(folds - 1, -1, -1)
        deal = list(order)
        dealt |= {name: deal[i % folds] for i, name in enumerate(members)}
    return {case.case_id: dealt[case.patient] for case in fitted}


def _patients(cases: Iterable[Case], label: int) -> list[str]:
    """Return the patients of a label, each by the first of their cases."""
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        first.setdefault(case.patient, case)
    return sorted(name for name, case in first.items() if case.pcr == label)


def _given(fitted: Iterable[Case], given: Sequence[Case]) -> dict[str, int]:
    without = [case.case_id for case in fitted if case.fold is None]
    if without:
        raise CohortError(
            f"The column 'fold' is blank for {without[0]} and {len(without) - 1} "
            "others: fill it for every labelled case, or for none."
        )
    assigned = {case.case_id: case.fold for case in given if case.fold is not None}
    count = max(assigned.values()) + 1
    if count < 2 or set(assigned.values()) != set(range(count)):
        raise CohortError(
            f"The column 'fold' says {sorted(set(assigned.values()))}: folds are "
            "numbered 0 to K-1, at least two."
        )
    _check_given(given)
    return assigned


def _check_given(given: Sequence[Case]) -> None:
    """Refuse folds that split a patient, or hold out one class alone."""
    home: dict[str, Case] = {}
    for case in given:
        other = home.setdefault(case.patient, case)
        if other.fold != case.fold:
            raise CohortError(
                f"The column 'fold' splits patient {case.patient}: {other.case_id} is "
                f"in fold {other.fold} and {case.case_id} in fold {case.fold}. Put all "
                "cases of a patient in one fold."
            )
    for fold in sorted({case.fold for case in given if case.fold is not None}):
        labels = {case.pcr for case in given if case.fold == fold}
        if len(labels) < 2:
            raise CohortError(
                f"Fold {fold} of the column 'fold' holds only cases with pcr "
                f"{labels.pop()}: nothing can be measured there. Deal both classes "
                "over all folds."
            )


def tested_and_fitted(cases: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Return each test case with a case of its patient that is fitted, if any is."""
    fitted = {
        case.patient: case
        for case in cases
        if case.split == "train" or (case.split is None and case.pcr is not None)
    }
    return [
        (case, fitted[case.patient])
        for case in cases
        if case.split == "test" and case.patient in fitted
    ]


def inner_split(
    cases: Sequence[Case], *, fraction: float, seed: int
) -> tuple[list[str], list[str]]:
    """Return the case ids to fit and those of the inner validation part.

    Each class gives the same share of its patients, rounded; all cases of a patient
    stay together, as in the folds.

    Parameters
    ----------
    cases
        With a label.
    fraction
        Share of the inner part.
    seed
        What the drawing begins with.
    """
    chosen: set[str] = set()
    for label in (0, 1):
        members = _patients(cases, label)
        random.Random(f"{seed}/inner/{label}").shuffle(members)
        chosen |= set(members[: round(fraction * len(members))])
    inner = sorted(case.case_id for case in cases if case.patient in chosen)
    fitted = sorted(case.case_id for case in cases if case.patient not in chosen)
    return fitted, inner
