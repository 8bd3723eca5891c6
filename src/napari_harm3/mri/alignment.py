"""How the volumes of a case lie on each other: who is laid on whom, and how well."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_harm3.mri.register import Registration
from napari_harm3.mri.resampling import Transform

BRIDGES = (
    ("t1_pre", "t1_post"),
    ("t2_pre", "t2_post"),
    ("t1_pre", "t2_post"),
    ("t2_pre", "t1_post"),
)
"""What post is laid on pre by, the surest first."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the volumes of a case lie on each other."""

    steps: Mapping[str, tuple[str, Registration]]
    """Each moved role, the role that it was laid on, and how."""

    @property
    def transforms(self) -> dict[str, Transform]:
        """From the common space to each moved role's own.

        A poor registration is not applied: the scanner's coordinates stand instead.
        """
        found: dict[str, Transform] = {}
        for role, (onto, registration) in self.steps.items():
            step = np.eye(4) if registration.poor else registration.matrix
            found[role] = step @ found.get(onto, np.eye(4))
        return found

    def to_plain(self) -> dict[str, Any]:
        """Return each step as JSON takes it, with what the role was laid on."""
        return {
            role: {"fixed": onto, **registration.to_plain()}
            for role, (onto, registration) in self.steps.items()
        }

    @property
    def warnings(self) -> dict[str, str]:
        """What is to be said of poor registrations, by role."""
        return {
            role: f"{registration.message} Its header's place is used."
            for role, (_, registration) in self.steps.items()
            if registration.poor
        }


def alignment_plan(roles: Iterable[str]) -> list[tuple[str, str]]:
    """Return which role is laid on which: post on pre, T2 on the T1 of its time.

    What a role is laid on comes before it.

    Examples
    --------
    >>> alignment_plan(["t1_pre", "t1_post", "t2_post"])
    [('t1_post', 't1_pre'), ('t2_post', 't1_post')]
    """
    present = set(roles)
    plan = []
    for first, second in (("t1_pre", "t2_pre"), ("t1_post", "t2_post")):
        if {first, second} <= present:
            plan.append((second, first))
    for fixed, moving in BRIDGES:
        if {fixed, moving} <= present:
            break
    else:
        return plan
    if moving == "t2_post" and "t1_post" in present:
        # T2 on T2 is surer than T1 on T2: it carries the T1 of its time along.
        plan = [step for step in plan if step != ("t2_post", "t1_post")]
        return [*plan, (moving, fixed), ("t1_post", "t2_post")]
    at = next((i for i, (role, _) in enumerate(plan) if role == "t2_post"), len(plan))
    return [*plan[:at], (moving, fixed), *plan[at:]]
