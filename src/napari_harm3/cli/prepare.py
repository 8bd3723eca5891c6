"""``harm3 prepare``: turn every volume and slide into tensors, once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import DeviceOptions, InputOptions
from napari_harm3.cli.show import Result, any_case_failed, show
from napari_harm3.jobs.cohort import prepare_cohort


@dataclass(kw_only=True)
class Prepare(InputOptions, DeviceOptions):
    """Put volumes on the model's grid and slides into bags of features."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    workers: int = 1
    """Processes at once."""

    scheduler: str | None = None
    """Address of a running Dask cluster that does the work instead."""

    def run(self) -> int:
        """Prepare the cohort; exit 1 if any file of it failed."""
        job = prepare_cohort(
            self.cohort,
            inputs=self.run_config().inputs,
            work=self.work,
            workers=self.workers,
            scheduler=self.scheduler,
            device=self.device,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary, failed=any_case_failed)


def _summary(result: Result) -> str:
    return (
        f"{result['volumes']} volumes and {result['slides']} slides prepared, "
        f"{len(result['failed'])} failed"
    )
