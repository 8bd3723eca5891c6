"""Whether a method serves every group of patients alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from napari_harm3.training.held_out import HeldOut
from napari_harm3.training.metrics import DRAWS, figures
from napari_harm3.training.resampling import drawn_patients, weighted_auc

LEAST = 5
"""Cases of each class below which a group is named but not measured."""

NOT_STATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """The cases with one value of a column."""

    column: str
    value: str
    n: int
    positives: int
    prevalence: float
    auc: float | None = None
    """Over pairs held out by the same fold: folds are different models."""

    ci95: tuple[float | None, float | None] = (None, None)
    """Bootstrap of patients within class."""

    acc: float | None = None
    sen: float | None = None
    spe: float | None = None
    """Decisions at 0.5."""

    note: str = ""
    """Why it was not measured."""


def subgroups(
    held_out: HeldOut,
    values: Mapping[str, str],
    *,
    column: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Subgroup]:
    """Return one row per value of a column, in alphabetical order.

    Parameters
    ----------
    held_out
        The held-out predictions of a run.
    values
        What the column says of each case; a blank or missing one is *not stated*.
    column
        Its name, such as ``center`` or ``subsite``.
    draws, seed
        Of the bootstrap.
    """
    said = [values.get(name, "").strip() or NOT_STATED for name in held_out.case_id]
    group = np.array(said)
    rng = np.random.default_rng(seed)
    names = sorted(set(said), key=lambda name: (name == NOT_STATED, name))
    return [
        _measured(held_out, group == name, (column, name), draws, rng) for name in names
    ]


def _measured(
    held_out: HeldOut,
    own: Bool[np.ndarray, "n"],
    name: tuple[str, str],
    draws: int,
    rng: np.random.Generator,
) -> Subgroup:
    label, score, fold = held_out.label[own], held_out.score[own], held_out.fold[own]
    _, first, case = np.unique(
        np.array(held_out.case_id)[own], return_index=True, return_inverse=True
    )
    case_label = label[first]  # repeats hold a case out more than once
    n, positives = len(case_label), int(case_label.sum())
    about = Subgroup(
        column=name[0],
        value=name[1],
        n=n,
        positives=positives,
        prevalence=positives / n,
        note=_why_not(positives, n - positives),
    )
    if about.note:
        return about
    patients = np.array(held_out.patient or held_out.case_id)[own][first]
    (drawn,) = drawn_patients([(case_label, patients.tolist())], draws, rng)
    weight = np.vstack([np.ones((1, len(label))), drawn[:, case]])
    aucs = weighted_auc(label, score, weight, fold=fold)
    defined = ~np.isnan(aucs[1:])
    found = figures(label, score)
    low, high = (
        np.percentile(aucs[1:][defined], (2.5, 97.5)).tolist()
        if defined.any()
        else (None, None)
    )
    return replace(
        about,
        auc=None if np.isnan(aucs[0]) else float(aucs[0]),
        ci95=(low, high),
        acc=found["acc"],
        sen=found["sen"],
        spe=found["spe"],
    )


def _why_not(positives: int, negatives: int) -> str:
    few = [
        f"{count} {name}"
        for count, name in ((positives, "with pCR"), (negatives, "without"))
        if count < LEAST
    ]
    return f"too few to measure: {' and '.join(few)}" if few else ""
