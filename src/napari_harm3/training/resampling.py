"""The bootstrap: patients are drawn within class, and draws are weights of cases."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int

Labels = Int[np.ndarray, "n"]
Weights = Float[np.ndarray, "draws n"]


def drawn_patients(
    groups: Sequence[tuple[Labels, Sequence[Hashable]]],
    draws: int,
    rng: np.random.Generator,
) -> list[Weights]:
    """Return how often each case of each group is drawn, with all its patient's.

    Parameters
    ----------
    groups
        Labels of cases, and whose each is. A patient is of the class of the first case,
        as in `assign_folds`; one who is in an earlier group, such as a fold of an
        earlier repeat, counts as often as there.
    draws
        Bootstrap samples.
    rng
        Draws one class after the other, group by group.
    """
    known: dict[Hashable, np.ndarray] = {}
    weights = []
    for label, whose in groups:
        first: dict[Hashable, int] = {}
        for row, patient in enumerate(whose):
            if patient not in known:
                first.setdefault(patient, row)
        rows = np.array(list(first.values()), dtype=int)
        drawn = drawn_within_class(label[rows], draws, rng)
        known.update(zip(first, drawn.T, strict=True))
        weights.append(np.stack([known[patient] for patient in whose], axis=1))
    return weights


def drawn_within_class(label: Labels, draws: int, rng: np.random.Generator) -> Weights:
    """Return how often each row is drawn; each class keeps its size."""
    weight = np.zeros((draws, len(label)))
    for value in (0, 1):
        members = np.flatnonzero(label == value)
        if len(members):
            shares = np.full(len(members), 1 / len(members))
            weight[:, members] = rng.multinomial(len(members), shares, size=draws)
    return weight


def weighted_auc(
    label: Labels,
    score: Float[np.ndarray, "n"],
    weight: Weights,
    *,
    fold: Int[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "draws"]:
    """Return the AUC of each draw; NaN where a class was not drawn.

    Parameters
    ----------
    label, score
        Of each case.
    weight
        How often each draw has it.
    fold
        Whose scores may be compared; all, if not given.
    """
    yes, no = label == 1, label == 0
    pair = np.ones((yes.sum(), no.sum()))
    if fold is not None:
        pair = (fold[yes][:, None] == fold[no]).astype(float)
    wins = (score[yes][:, None] > score[no]) + 0.5 * (score[yes][:, None] == score[no])
    won = ((weight[:, yes] @ (wins * pair)) * weight[:, no]).sum(1)
    pairs = ((weight[:, yes] @ pair) * weight[:, no]).sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / pairs)
