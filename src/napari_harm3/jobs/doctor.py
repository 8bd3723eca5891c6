"""What a user can ask about a file that gives trouble."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from napari_harm3.jobs.progress import Job, Progress, finished


def examine(files: Sequence[Path], *, source_mpp: float | None = None) -> Job:
    """Say what slides, volumes and feature files are, and what is wrong with them.

    A folder of one DICOM slide or series is one file; of another folder, its slides
    and volumes are.
    """
    from napari_harm3.data.inspection import files_at, inspect_file

    given = [found for file in files for found in files_at(file)]
    rows = []
    for done, file in enumerate(given):
        yield Progress(stage="doctor", step=done, of=len(given), text=file.name)
        report = inspect_file(file, source_mpp=source_mpp)
        rows.append({"file": str(file.absolute()), **asdict(report)})
    yield finished("doctor", {"files": rows})
