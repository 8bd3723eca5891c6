"""``harm3 train``: cross-validation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from napari_harm3.cli.metrics import metrics_table
from napari_harm3.cli.options import DeviceOptions, InputOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.training import train
from napari_harm3.training.config import RunConfig


@dataclass(kw_only=True)
class Train(InputOptions, DeviceOptions):
    """Fit a method on every fold of a cohort, and measure it on what was held out."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    out: Path
    """The run folder."""

    method: str | None = None
    """What to train; `harm3 models` lists the names. harm3 if not given."""

    folds: int | None = None
    """Folds by patient; a column `fold` in the table wins. 5 if not given."""

    repeats: int | None = None
    """Repeated cross-validation, each time with other folds. 1 if not given."""

    epochs: int | None = None
    """Passes over the training cases."""

    seed: int | None = None
    """Seed of folds, weights and order. 0 if not given."""

    jobs: int = 1
    """Folds at once, each in a process of its own."""

    scheduler: str | None = None
    """Address of a running Dask cluster, which then trains the folds."""

    resume: bool = False
    """Go on with the run in the folder."""

    def run(self) -> int:
        """Train; print the metrics."""
        job = train(
            self.cohort,
            run=self.out,
            config=self.train_config(),
            work=self.work,
            device=self.device,
            jobs=self.jobs,
            scheduler=self.scheduler,
            resume=self.resume,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary)

    def train_config(self) -> RunConfig:
        """Return the configuration, with the given options over the file's."""
        config = self.run_config(self.method or "harm3")
        given: dict[str, Any] = {
            "method": self.method,
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
        }
        config = replace(config, **{k: v for k, v in given.items() if v is not None})
        if self.epochs is not None:
            training = replace(config.training, epochs=self.epochs)
            config = replace(config, training=training)
        return config


def _summary(result: Result) -> str:
    return f"{metrics_table(result['metrics'])}\nrun: {result['run']}"
