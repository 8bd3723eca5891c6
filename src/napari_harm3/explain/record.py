"""What each case has to say in a cohort's tables, and the tables' rows.

A case is measured once. Which share of the peak is chosen depends on the other cases:
the Dice at every share is kept, and the choice is made at the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from napari_harm3.explain.agreement_cohort import (
    MODEL,
    Row,
    case_rows,
    with_choice,
    with_sizes,
)
from napari_harm3.explain.asked import COMPARED, AskedCase
from napari_harm3.explain.measured import ByRole, union_curves
from napari_harm3.explain.thresholds import TrainingCurves

Record = dict[str, Any]


def record_of(asked: AskedCase) -> Record:
    """Return what a case has to say, as JSON takes it.

    Returns
    -------
    :
        ``case_id``, ``probability``, ``threshold``, ``folds``, ``seen``; ``agreement``
        of each map by role; ``curves``, the Dice at each of `thresholds.SHARES` of
        each map by role and label; and ``training``, the same of the union, of each
        map and each fold that was fitted on this case.
    """
    agreement: dict[str, ByRole] = {}
    curves: dict[str, Any] = {}
    training: dict[str, dict[str, Any]] = {}
    fitted = asked.fitted()
    for name, maps in asked.compared():
        agreement[name] = asked.yardstick.measure(maps)
        curves[name] = asked.yardstick.dice_by_share(maps)
        if name not in (MODEL, *COMPARED):  # no fold has a say in a baseline
            training[name] = {str(f): union_curves(curves[name]) for f in fitted}
    volumes = asked.explanation.volumes.values()
    if any(one.annotation is not None and one.annotation.any() for one in volumes):
        own = {f: asked.yardstick.dice_by_share(asked.of_fold(f)) for f in fitted}
        training[MODEL] = {str(f): union_curves(one) for f, one in own.items()}
    explanation = asked.explanation
    return {
        "case_id": explanation.case_id,
        "probability": explanation.probability,
        "threshold": explanation.threshold,
        "folds": list(asked.inputs.sight.folds),
        "seen": asked.inputs.sight.seen,
        "agreement": agreement,
        "curves": curves,
        "training": training,
    }


def cohort_rows(records: Sequence[Record]) -> list[Row]:
    """Return the rows of ``agreement.csv`` of all cases and maps.

    Parameters
    ----------
    records
        From `record_of`, each with ``pcr`` and ``patient`` of the cohort table.
    """
    training = _training(records)
    rows = []
    for record in records:
        for name, measured in record["agreement"].items():
            choice = training.choice(name, record["folds"], seen=record["seen"])
            rows += [
                with_choice(row, *choice, _curve(record, row))
                for row in case_rows(
                    record["case_id"],
                    measured,
                    patient=record["patient"],
                    pcr=record["pcr"],
                    decision=record["probability"] >= record["threshold"],
                    map_name=name,
                )
            ]
    return with_sizes(rows)


def _training(records: Sequence[Record]) -> TrainingCurves:
    training = TrainingCurves()
    for record in records:
        for name, by_fold in record["training"].items():
            for fold, curves in by_fold.items():
                training.add(name, int(fold), curves)
    return training


def _curve(record: Record, row: Mapping[str, Any]) -> Sequence[float] | None:
    by_label = record["curves"][row["map"]].get(row["role"], {})
    curve: Sequence[float] | None = by_label.get(row["label"])
    return curve
