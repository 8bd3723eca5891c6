"""What is true of a made-up cohort: labels, and the three things that tell them.

* **Lesion change**: the volume left after treatment. Most pCR cases have none left,
  yet some keep a remnant, and some of the others have none: an empty annotation is an
  imaging response, never the label.
* **T2 signal** of the lesion against muscle.
* **Cell density** on the slide.

Given the label the three are independent.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

PREVALENCE = 0.30


@dataclass(frozen=True, kw_only=True)
class Signal:
    """How far the two classes lie apart in each source."""

    discordant: float
    """Share of pCR cases with a remnant, and of the others without one."""

    residual_shift: float
    """Distance of the classes' log residual ratios, in standard deviations."""

    shift: float
    """Distance of the classes in T2 signal and in density, likewise."""


SIGNALS = {
    "default": Signal(discordant=0.16, residual_shift=0.6, shift=1.53),
    "strong": Signal(discordant=0.11, residual_shift=1.4, shift=1.95),
}
LOG_RESIDUAL_SPREAD = 0.45
TYPICAL_RESIDUAL = 0.40


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The latent values of every case."""

    outcome: Int[np.ndarray, "N"]
    """Whether there is pCR, as the files show it; column ``pcr`` of ``truth.csv``."""

    label: Int[np.ndarray, "N"]
    """What ``cohort.csv`` says of it; something else if labels are permuted."""

    residual: Float[np.ndarray, "N"]
    """Lesion volume after treatment as a share of that before; 0 if none is left."""

    t2_signal: Float[np.ndarray, "N"]
    density: Float[np.ndarray, "N"]

    @property
    def remnant(self) -> Bool[np.ndarray, "N"]:
        """Where a lesion is left to be seen after treatment."""
        return self.residual > 0


def draw_truth(
    cases: int, *, seed: int, signal: str = "default", permute_labels: bool = False
) -> Truth:
    """Return the latent values of a cohort.

    Quotas and stratified draws give every cohort, however small, the same strength
    of signal.
    """
    rng = np.random.default_rng([seed, 101])
    strength = SIGNALS[signal]
    outcome = np.zeros(cases, dtype=int)
    outcome[: round(PREVALENCE * cases)] = 1
    outcome = rng.permutation(outcome)
    residual, t2_signal, density = (np.zeros(cases) for _ in range(3))
    for pcr in (0, 1):
        members = np.flatnonzero(outcome == pcr)
        side = (0.5 if pcr else -0.5) * strength.shift
        t2_signal[members] = _stratified(rng, len(members)) + side
        density[members] = _stratified(rng, len(members)) + side
        residual[members] = _residuals(rng, len(members), pcr, strength)
    label = rng.permutation(outcome) if permute_labels else outcome
    return Truth(
        outcome=outcome,
        label=label,
        residual=residual,
        t2_signal=t2_signal,
        density=density,
    )


def log_odds(truth: Truth, *, signal: str = "default") -> Float[np.ndarray, "3 N"]:
    """Return what each source says of pCR: its exact log likelihood ratio."""
    strength = SIGNALS[signal]
    odds = np.log(1 / strength.discordant - 1)
    z = _standard_residual(np.where(truth.remnant, truth.residual, TYPICAL_RESIDUAL))
    lesion = np.where(truth.remnant, -odds - strength.residual_shift * z, odds)
    return np.stack(
        [lesion, strength.shift * truth.t2_signal, strength.shift * truth.density]
    )


def _residuals(
    rng: np.random.Generator, count: int, pcr: int, strength: Signal
) -> Float[np.ndarray, "n"]:
    """Return residual ratios of one class, zero for those without a remnant."""
    share = strength.discordant if pcr else 1 - strength.discordant
    remnants = round(share * count)
    z = _stratified(rng, remnants) - (0.5 if pcr else -0.5) * strength.residual_shift
    ratios = TYPICAL_RESIDUAL * np.exp(LOG_RESIDUAL_SPREAD * z)
    values = np.concatenate([np.clip(ratios, 0.06, 1.6), np.zeros(count - remnants)])
    return rng.permutation(values)


def _standard_residual(ratio: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    return np.log(ratio / TYPICAL_RESIDUAL) / LOG_RESIDUAL_SPREAD


def _stratified(rng: np.random.Generator, count: int) -> Float[np.ndarray, "n"]:
    """Return standard normal values, one from each of n equal shares of the mass."""
    shares = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    return ndtri(shares)
