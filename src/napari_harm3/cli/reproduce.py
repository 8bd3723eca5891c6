"""``harm3 reproduce``: the paper's two tables on an own cohort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import TrainingOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.errors import ConfigError
from napari_harm3.experiments.recipe import Table
from napari_harm3.jobs.reproduction import Reproduction, configs_of, reproduce
from napari_harm3.training.config import Budget

PERMUTATIONS = 5


@dataclass(kw_only=True)
class Reproduce(TrainingOptions):
    """Train every method of a table under the same folds, and write the table.

    Run again, it goes on where it was stopped.
    """

    table: Annotated[Table, tyro.conf.Positional]
    """table1: HARM3, its rivals and what is easy. table2: the ablations."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    out: Path
    """Folder for the table, and a run folder for each method."""

    beyond: bool = False
    """Add the rows that the paper does not have."""

    methods: tuple[str, ...] = ()
    """These methods alone, and harm3; `harm3 models` lists the names."""

    budget: Budget = "matched"
    """matched: all are trained alike. native: each as its authors did."""

    sanity: bool = False
    """Train on shuffled labels besides; whatever still finds something is wrong."""

    permutations: int = PERMUTATIONS
    """How many shuffles."""

    resume: bool = False
    """Said for clearness: what is finished is kept in any case."""

    def run(self) -> int:
        """Make the table; say what is in it. Exit 1 if a method failed."""
        if self.permutations < 1:
            raise ConfigError(
                f"{self.permutations} shuffles tell nothing: give --permutations 1 or "
                "more."
            )
        configs = configs_of(
            self.table,
            self.run_config(),
            beyond=self.beyond,
            methods=self.methods,
            budget=self.budget,
        )
        asked = Reproduction(
            cohort=self.cohort,
            out=self.out,
            configs={name: self.over(one) for name, one in configs.items()},
            work=self.work,
            device=self.device,
            jobs=self.jobs,
            scheduler=self.scheduler,
            allow_external=self.allow_external,
        )
        job = reproduce(
            self.table,
            asked,
            permutations=self.permutations if self.sanity else 0,
        )
        return show(job, json=self.json, summary=_summary, failed=_some_failed)


def _some_failed(result: Result) -> bool:
    return bool(result["failed"])  # warnings have said which and why


def _summary(result: Result) -> str:
    rows = [f"{'method':<24}{'AUC':>8}{'ACC':>8}{'F1':>8}{'SEN':>8}{'SPE':>8}"]
    for row in result["rows"]:
        figures = [row["metrics"][name]["mean"] for name in _SHOWN]
        cells = "".join("       -" if f is None else f"{f:>8.3f}" for f in figures)
        rows.append(f"{row['method']:<24}{cells}")
    return "\n".join([*rows, f"table: {result['table']}"])


_SHOWN = ("auc", "acc", "f1", "sen", "spe")
