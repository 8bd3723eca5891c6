"""Whether a method serves every group of patients alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.training.held_out import HeldOut
from napari_harm3.training.metrics import DRAWS, figures

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
    """Bootstrap of cases within class."""

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
    weight = _drawn(case_label, draws, rng)[:, case]
    everyone = np.ones((1, len(label)))
    aucs = _auc_within_folds(label, score, fold, np.vstack([everyone, weight]))
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


def _drawn(
    label: Int[np.ndarray, "cases"], draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draws cases"]:
    """Return how often each case is drawn, within its class."""
    weight = np.zeros((draws, len(label)))
    for value in (0, 1):
        members = np.flatnonzero(label == value)
        shares = np.full(len(members), 1 / len(members))
        weight[:, members] = rng.multinomial(len(members), shares, size=draws)
    return weight


def _auc_within_folds(
    label: Int[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    fold: Int[np.ndarray, "n"],
    weight: Float[np.ndarray, "draws n"],
) -> Float[np.ndarray, "draws"]:
    yes, no = label == 1, label == 0
    pair = (fold[yes][:, None] == fold[no]).astype(float)
    wins = (score[yes][:, None] > score[no]) + 0.5 * (score[yes][:, None] == score[no])
    won = ((weight[:, yes] @ (wins * pair)) * weight[:, no]).sum(1)
    pairs = ((weight[:, yes] @ pair) * weight[:, no]).sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / pairs)
