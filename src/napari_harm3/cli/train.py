"""``harm3 train``: cross-validation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.metrics import metrics_table
from napari_harm3.cli.options import TrainingOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.training import train


@dataclass(kw_only=True)
class Train(TrainingOptions):
    """Fit a method on every fold of a cohort, and measure it on what was held out."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    out: Path
    """The run folder."""

    method: str | None = None
    """What to train; `harm3 models` lists the names. harm3 if not given."""

    resume: bool = False
    """Go on with the run in the folder."""

    def run(self) -> int:
        """Train; print the metrics."""
        job = train(
            self.cohort,
            run=self.out,
            config=self.over(self.run_config(self.method)),
            work=self.work,
            device=self.device,
            jobs=self.jobs,
            scheduler=self.scheduler,
            resume=self.resume,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary)


def _summary(result: Result) -> str:
    return f"{metrics_table(result['metrics'])}\nrun: {result['run']}"
