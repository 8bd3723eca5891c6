"""What a user can ask about a case's volumes: how they lie on each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.cohort.table import read_cohort
from napari_harm3.jobs.cohort import work_folder
from napari_harm3.jobs.parallel import stopping
from napari_harm3.jobs.progress import Job, Progress, finished

if TYPE_CHECKING:
    from napari_harm3.mri.register import Registration
    from napari_harm3.mri.volume import Volume


def register_case(
    cohort: Path,
    *,
    case: str,
    work: Path | None = None,
    allow_external: bool = False,
) -> Job:
    """Lay post on pre and T2 on T1, rigidly; what was found before is kept.

    It can be stopped in the middle of a step, see `parallel.stopping`.

    The result holds, by role, ``transforms`` (4x4, from RAS mm of the common space to
    RAS mm of the role's file; a poor registration is not applied), and
    ``registrations`` (``fixed``, ``matrix``, ``metric``, ``correlation``, each also
    ``_before``, ``shared``, ``moved_mm``, ``poor``, ``message``). The role that the
    others were laid on is in neither.
    """
    from napari_harm3.data.prepare import registered
    from napari_harm3.mri.alignment import Alignment, alignment_plan
    from napari_harm3.mri.reading import read_volume

    work = work_folder(cohort, work)
    one = read_cohort(cohort, allow_external=allow_external).case(case)
    plan = alignment_plan(one.volumes)
    count = len(one.volumes) + len(plan)
    volumes: dict[str, Volume] = {}
    steps: dict[str, tuple[str, Registration]] = {}
    for role, file in one.volumes.items():
        yield Progress(stage="volumes", step=len(volumes), of=count, text=role)
        volumes[role] = read_volume(file)
    for role, onto in plan:
        done = len(volumes) + len(steps)
        yield Progress(stage="register", step=done, of=count, text=f"{role} on {onto}")
        step = registered(one, volumes, (role, onto), work, stopped=stopping)
        steps[role] = (onto, step)
    alignment = Alignment(steps=steps)
    for role, message in alignment.warnings.items():
        yield Progress(stage="register", warning=f"{role}: {message}")
    result: dict[str, Any] = {
        "case_id": case,
        "transforms": {r: m.tolist() for r, m in alignment.transforms.items()},
        "registrations": alignment.to_plain(),
    }
    yield finished("register", result)
