"""What a fit says while it works."""

from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
"""What ``events.jsonl`` has a line of."""


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """A step was made; the caller may stop between any two."""

    fold: int
    epoch: int
    step: int
    steps: int
    loss: float

    def to_plain(self) -> Event:
        """Return it as a line of ``events.jsonl``; epochs count from 1 there."""
        return {
            "kind": "step",
            "fold": self.fold,
            "epoch": self.epoch + 1,
            "step": self.step,
            "steps": self.steps,
            "loss": self.loss,
        }


@dataclass(frozen=True, kw_only=True)
class EpochEvent:
    """An epoch was finished."""

    fold: int
    epoch: int
    epochs: int
    losses: dict[str, float]
    auc: float | None
    """On the inner part; None without one that is large enough."""

    seconds: float
    data_wait: float = 0.0
    """Share of them in which the network waited for its next batch."""

    def to_plain(self) -> Event:
        """Return it as a line of ``events.jsonl``; epochs count from 1 there."""
        return {
            "kind": "epoch",
            "fold": self.fold,
            "epoch": self.epoch + 1,
            "epochs": self.epochs,
            "loss": self.losses["loss"],
            "losses": self.losses,
            "auc": self.auc,
            "seconds": round(self.seconds, 3),
            "data_wait": round(self.data_wait, 4),
        }
