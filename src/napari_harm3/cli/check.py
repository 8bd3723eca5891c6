"""``harm3 check``: every fault of a cohort, at once."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import CohortOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.cohort import check_cohort


@dataclass(kw_only=True)
class Check(CohortOptions):
    """Find every fault of a cohort table and of the files that it names."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    quick: bool = False
    """Read headers only, instead of every byte."""

    def run(self) -> int:
        """Print one line per fault; exit 1 if there is any."""
        job = check_cohort(
            self.cohort, quick=self.quick, allow_external=self.allow_external
        )
        return show(job, json=self.json, summary=_summary, failed=_any_fault)


def _any_fault(result: Result) -> bool:
    for fault in result["faults"]:
        row = "table" if fault["row"] is None else f"row {fault['row']}"
        column = "" if fault["column"] is None else f", {fault['column']}"
        # A cell, or a column's name, may hold line breaks.
        line = " ".join(f"{row}{column}: {fault['message']}".split())
        print(line, file=sys.stderr)
    return bool(result["faults"])


def _summary(result: Result) -> str:
    return f"{result['cases']} cases, {len(result['faults'])} faults"
