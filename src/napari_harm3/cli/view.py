"""``harm3 view``: napari, opened on a case."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(kw_only=True)
class View:
    """Open the cases of a cohort in napari."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""

    case: str | None = None
    """The case to open first."""

    model: Path | None = None
    """A run folder, or an exported model folder, for the Explain panel."""

    explanation: Path | None = None
    """An explanation folder of the case, to be shown at once."""

    screenshot: Path | None = None
    """Save a picture of the whole window, and close it."""

    work: Path | None = None
    """Folder for everything made once; .harm3 beside the cohort table if not given."""

    allow_external: bool = False
    """Accept paths that leave the cohort table's folder."""

    def run(self) -> int:
        """Start the viewer in a process of its own, where torch never loads."""
        return subprocess.run(self.arguments(), check=False).returncode

    def arguments(self) -> list[str]:
        """Return the command line of the viewer."""
        given = {
            "--case": self.case,
            "--model": self.model,
            "--explanation": self.explanation,
            "--screenshot": self.screenshot,
            "--work": self.work,
        }
        options = [
            word
            for name, value in given.items()
            if value is not None
            for word in (name, str(value))
        ]
        if self.allow_external:
            options.append("--allow-external")
        viewer = [sys.executable, "-m", "napari_harm3.plugin.view"]
        return [*viewer, str(self.cohort), *options]
