"""The held-out predictions of a run, case by case; reading them needs no torch."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.errors import ModelError, TrainingError
from napari_harm3.training.metrics import FoldScores
from napari_harm3.training.run_cases import patients_of


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One row a prediction, ordered by fold and case, so that two runs pair up."""

    case_id: tuple[str, ...]
    fold: Int[np.ndarray, "n"]
    label: Int[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]
    threshold: Float[np.ndarray, "n"]
    """Of the row's fold, chosen on its inner part."""

    patient: tuple[str, ...] = ()
    """Whose each case is; without them, each case is a patient of its own."""

    @property
    def folds(self) -> tuple[FoldScores, ...]:
        """The same, fold by fold, as the metrics take it."""
        return tuple(
            self._scores(self.fold == number) for number in np.unique(self.fold)
        )

    def _scores(self, own: Bool[np.ndarray, "n"]) -> FoldScores:
        return FoldScores(
            label=self.label[own],
            score=self.score[own],
            threshold=float(self.threshold[own][0]),
            case_id=tuple(np.array(self.case_id)[own].tolist()),
            patient=tuple(np.array(self.patient)[own].tolist()) if self.patient else (),
        )


def read_held_out(run: Path) -> HeldOut:
    """Return the labelled rows of a run's ``predictions.csv``.

    Raises
    ------
    ModelError
        If the run was not trained to its end, or the file is damaged.
    """
    patients = patients_of(run)
    try:
        with (run / "predictions.csv").open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream, strict=True)
            rows = [row for row in table if row["pcr"] != ""]
            return _as_held_out(rows, patients)
    except FileNotFoundError as error:
        raise ModelError(
            f"{run.name} has no predictions.csv: train it to its end first."
        ) from error
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ModelError(
            f"{run.name}/predictions.csv cannot be read: copy it again, or resume the "
            "run, which writes it anew."
        ) from error


def require_same_cases(one: HeldOut, other: HeldOut, *, names: tuple[str, str]) -> None:
    """Refuse to compare two runs that held out other cases, or in other folds.

    Raises
    ------
    TrainingError
        Naming one case.
    """
    mine, theirs = (
        set(zip(each.case_id, each.fold.tolist(), strict=True)) for each in (one, other)
    )
    if differing := sorted(mine ^ theirs):
        raise TrainingError(
            f"{names[0]} and {names[1]} were measured on other cases or folds, first "
            f"{differing[0][0]}: train both on one cohort table with one seed."
        )


def _as_held_out(
    rows: Sequence[Mapping[str, str]], patients: Mapping[str, str]
) -> HeldOut:
    """Return rows as columns; a ValueError says that no run has written them."""
    ordered = sorted(rows, key=lambda row: (int(row["fold"]), row["case_id"]))
    found = HeldOut(
        case_id=tuple(row["case_id"] for row in ordered),
        fold=np.array([int(row["fold"]) for row in ordered], dtype=int),
        label=np.array([int(row["pcr"]) for row in ordered], dtype=int),
        score=np.array([float(row["probability"]) for row in ordered]),
        threshold=np.array([float(row["threshold"]) for row in ordered]),
        patient=tuple(patients.get(row["case_id"], row["case_id"]) for row in ordered),
    )
    shares = np.concatenate([found.score, found.threshold])
    once = set(zip(found.case_id, found.fold.tolist(), strict=True))
    if (
        not rows
        or not np.isin(found.label, (0, 1)).all()
        or not ((shares >= 0) & (shares <= 1)).all()  # nor a NaN
        or len(once) < len(rows)
    ):
        raise ValueError("No run predicts that.")
    return found
