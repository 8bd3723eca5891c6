"""What a user can ask about a file that gives trouble."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from napari_harm3.jobs.progress import Job, Progress, finished


def examine(files: Sequence[Path], *, source_mpp: float | None = None) -> Job:
    """Say what slides, volumes and feature files are, and what is wrong with them.

    A folder of one DICOM slide is one file; of another folder, its slides are.
    """
    from napari_harm3.data.inspection import inspect_file
    from napari_harm3.wsi.folder import slides_at

    given = [slide for file in files for slide in slides_at(file)]
    rows = []
    for done, file in enumerate(given):
        yield Progress(stage="doctor", step=done, of=len(given), text=file.name)
        report = inspect_file(file, source_mpp=source_mpp)
        rows.append({"file": str(file.absolute()), **asdict(report)})
    yield finished("doctor", {"files": rows})
