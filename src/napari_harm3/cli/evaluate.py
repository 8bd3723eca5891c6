"""``harm3 evaluate``: the metrics out of fold, or on an external cohort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.metrics import metrics_table
from napari_harm3.cli.options import DeviceOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.training import evaluate


@dataclass(kw_only=True)
class Evaluate(DeviceOptions):
    """Measure a run on its held-out cases, or a model on another cohort."""

    model: Annotated[Path, tyro.conf.Positional]
    """A run folder, or an exported model folder."""

    cohort: Annotated[Path | None, tyro.conf.Positional] = None
    """Another cohort's table; cases seen in training are refused."""

    def run(self) -> int:
        """Print the metrics; exit 1 if a file of any case could not be used."""
        job = evaluate(
            self.model,
            cohort=self.cohort,
            work=self.work,
            device=self.device,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary, failed=_any_failed)


def _any_failed(result: Result) -> bool:
    return bool(result["failed"])


def _summary(result: Result) -> str:
    origin = f"model trained on {result['trained_on']}"
    return f"{metrics_table(result['metrics'])}\n{origin}"
