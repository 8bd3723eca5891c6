"""Which series of a patient is t1 or t2, before or after treatment: a proposal."""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from napari_harm3.cohort.case import SEQUENCES, TIMES
from napari_harm3.cohort.importers.found import ANNOTATIONS, Found, differences
from napari_harm3.cohort.importers.parts import SPLIT
from napari_harm3.mri.acquisition import FLUID_INVERSION_MS, LONG_ECHO_MS

FEWEST_SLICES = 8
"""A series of fewer slices is a localiser, or of no use."""

OPPOSED = re.compile(r"OP|OPP\w*|OUT\W?(OF\W)?PHASE|OPPOSED\W?PHASE")
"""Fat against water: a T1 that is taken where there is no other."""

AGENT = {
    True: "with contrast agent",
    False: "WITHOUT contrast agent",
    None: "contrast agent not stated",
}

Phases = Mapping[str, tuple[int, int]]
"""By fingerprint: which time of how many a series is, counted from 1."""


def propose(found: Sequence[Found]) -> None:
    """Give each patient's series the roles that they seem to have, and say why."""
    for _, members in itertools.groupby(found, key=lambda one: one.patient):
        series = list(members)
        times, phases = _times(series), _phases(series)
        for one in series:
            one.why = one.info.fault or ""
        for sequence in SEQUENCES:
            _choose(series, sequence, times, phases)
        _tie_annotations(series)


def _times(series: Sequence[Found]) -> dict[int, str]:
    """Return pre for the first day with a useful series, and post for the last."""
    useful = [one for one in series if one.image and not _unfit(one)]
    days = sorted({one.days for one in useful if one.days is not None})
    if not days:
        return {}
    return {days[0]: "pre"} | ({days[-1]: "post"} if len(days) > 1 else {})


def _phases(series: Sequence[Found]) -> Phases:
    """Return the places of dynamic series: parts that differ in time alone."""
    parts: dict[tuple[object, ...], list[Found]] = defaultdict(list)
    for one in series:
        if one.image and not one.split:
            info = one.info
            echo = info.echo_ms, info.inversion_ms, info.image_type
            parts[info.uid, info.study_date, info.plane, *echo].append(one)
    phases = {}
    for members in parts.values():
        members.sort(key=lambda one: one.info.phase)
        for place, one in enumerate(members, start=1):
            phases[one.fingerprint] = place, len(members)
    return phases


def _choose(
    series: Sequence[Found], sequence: str, times: Mapping[int, str], phases: Phases
) -> None:
    """Take the pair of series before and after that fits together best."""
    offered: dict[str, list[Found]] = {time: [] for time in TIMES}
    for one in series:
        if one.roles or not one.image:
            continue
        reason = _unfit(one) or _untimed(one, times) or broken(one)
        if reason:
            one.why = reason
        elif one.info.sequence == sequence and one.days is not None:
            offered[times[one.days]].append(one)
    choices: list[Sequence[Found | None]] = [offered[t] or [None] for t in TIMES]
    pairs = itertools.product(*choices)
    best = max(pairs, key=lambda pair: _fit(sequence, pair, phases))
    for time, chosen in zip(TIMES, best, strict=True):
        for other in offered[time]:
            other.why = f"another series fits {sequence}_{time} better"
        if chosen is not None:
            chosen.roles = (f"{sequence}_{time}",)
            chosen.why = _because(chosen, sequence, time, len(offered[time]))
            place, count = phases[chosen.fingerprint]
            chosen.why += f", time {place} of {count}" if count > 1 else ""


def _unfit(one: Found) -> str:
    """Return why a series was not made to be one of the four, or nothing."""
    info = one.info
    if info.localizer or (info.slices < FEWEST_SLICES and not one.split):
        return f"a localiser, {info.slices} slices"
    if info.sequence is None:
        return info.sequence_reason
    if info.sequence == "t2" and (info.inversion_ms or 0) >= FLUID_INVERSION_MS:
        return "a FLAIR by its inversion time"
    return ""


def broken(one: Found) -> str:
    """Return why a series makes no volume, or not the whole one, or nothing."""
    return SPLIT if one.split else one.info.fault or ""


def _untimed(one: Found, times: Mapping[int, str]) -> str:
    """Return why a series is neither before nor after, or nothing."""
    if one.days is None:
        return "no date"
    return "" if one.days in times else "neither the first study nor the last"


def _fit(
    sequence: str, pair: Sequence[Found | None], phases: Phases
) -> tuple[float, ...]:
    """Rank a pair: contrast, or a long echo, first; then images as they were taken.

    Then such as were taken once; likeness, axial, fine voxels; of many times the late
    ones, which the agent has reached; many slices.
    """
    there = [one.info for one in pair if one is not None]
    if sequence == "t1":
        weighted = sum(info.contrast is True for info in there)
    else:
        weighted = sum((info.echo_ms or 0) >= LONG_ECHO_MS for info in there)
    places = [phases[one.fingerprint] for one in pair if one is not None]
    return (
        weighted,
        -sum(info.derived or _opposed(info.image_type) for info in there),
        -sum(count > 1 for _, count in places),
        -len(differences(*there)) if len(there) == 2 else 0,
        -sum(info.plane != "axial" for info in there),
        -sum(math.prod(info.spacing_mm or (0.0,)) for info in there),
        sum(place for place, _ in places),
        sum(info.slices for info in there),
    )


def _opposed(image_type: Sequence[str]) -> bool:
    return any(OPPOSED.fullmatch(word) for word in image_type)


def _because(one: Found, sequence: str, time: str, count: int) -> str:
    when = "first" if time == "pre" else "last"
    parts = [f"{sequence.upper()} of the {when} study"]
    if sequence == "t1":
        parts.append(AGENT[one.info.contrast])
    if count > 1:
        parts.append(f"the best of {count}")
    return ", ".join(parts)


def _tie_annotations(series: Sequence[Found]) -> None:
    """Tie contours and segmentations to the volumes that they were drawn on.

    Of several on one volume none is tied: a volume has one mask, and which is meant, or
    whether they belong together, only a person knows.
    """
    drawn = [one for one in series if one.info.modality in ANNOTATIONS]
    volumes = {one.fingerprint: _volumes_of(one, series) for one in drawn}
    roles = {
        fingerprint: tuple(f"mask_{role}" for one in found for role in one.roles)
        for fingerprint, found in volumes.items()
    }
    claims = Counter(role for some in roles.values() for role in some)
    for one in drawn:
        own = roles[one.fingerprint]
        most = max((claims[role] for role in own), default=0)
        if not own:
            one.why = "no chosen volume of its study has its frame of reference"
        elif len({volume.days for volume in volumes[one.fingerprint]}) > 1:
            one.why = (
                "both studies have its frame of reference, and it does not say of "
                f"which it is: write {' or '.join(own)}"
            )
        elif most > 1:
            one.why = (
                f"{most} annotations share its frame of reference: write "
                f"{';'.join(own)} for the one you mean, or export them as one"
            )
        else:
            one.roles, one.why = own, "same frame of reference"


def _volumes_of(drawn: Found, series: Sequence[Found]) -> list[Found]:
    """Return the chosen volumes of an annotation's frame: of its study, if it says so.

    Its study is that of the images it refers to, else the one it is filed in, else the
    one of its day.
    """
    images = [one for one in series if one.image]
    frame = drawn.info.frame_of_reference
    found = [
        one
        for one in images
        if one.roles and frame and one.info.frame_of_reference == frame
    ]
    meant = {*drawn.info.refers_to}
    studies = (
        {one.days for one in images if meant & {one.info.uid, one.info.study_uid}},
        {one.days for one in images if one.info.study_uid == drawn.info.study_uid},
        {one.days for one in images if one.days == drawn.days} - {None},
    )
    days = next(filter(None, studies), None)
    return [one for one in found if days is None or one.days in days]
