"""A BIDS data set as a cohort table.

Sessions become before and after treatment, contrast-enhanced T1w (``ce-``) becomes
t1, and masks come from ``derivatives``.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import read_record
from napari_harm3.cohort.case import TIMES
from napari_harm3.cohort.importers.config import BidsOptions
from napari_harm3.cohort.importers.listing import (
    Cells,
    Listing,
    Row,
    case_ids,
    few,
    is_volume,
    meaning,
    read_clinical,
    read_object,
    stem,
)
from napari_harm3.errors import CohortError

ENTITY = re.compile(r"([a-zA-Z0-9]+)-([a-zA-Z0-9+]+)")
SEQUENCES = {"T1w": "t1", "T2w": "t2"}
MASKS = ("mask", "dseg")
ANATOMY = {"brain", "head", "skull", "gm", "wm", "csf", "eye", "cortex"}
"""Labels, or descriptions, of masks that are no lesion."""


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, path: Path) -> "_File":
        *pairs, suffix = stem(path.name).split("_")
        found = (ENTITY.fullmatch(pair) for pair in pairs)
        return cls(path=path, entities={m[1]: m[2] for m in found if m}, suffix=suffix)

    @property
    def session(self) -> str:
        return self.entities.get("ses", "")


def list_bids(source: Path, options: BidsOptions | None = None) -> Listing:
    """Return the cases of a BIDS data set.

    Raises
    ------
    CohortError
        If it holds no anatomical image, or a session, a run or a mask is in doubt.
    """
    options = options or BidsOptions()
    folders = sorted(p for p in source.glob("sub-*") if p.is_dir())
    ids = case_ids(folder.name.removeprefix("sub-") for folder in folders)
    found = _Found(source=source, options=options)
    found.read({f: ids[f.name.removeprefix("sub-")] for f in folders})
    rows = found.cells.rows()
    if not rows:
        raise CohortError(
            f"{source.name} holds no sub-*/anat/*_T1w or *_T2w image: is it a BIDS "
            "data set?"
        )
    found.tell_contrast(rows)
    clinical = _table(source / "participants.tsv", "participant_id")
    table: list[Row] = []
    for name, case_id in ids.items():
        if case_id in rows:
            others = clinical.get(f"sub-{name}", clinical.get(name, {}))
            contrast = found.contrast(rows[case_id])
            table.append({"case_id": case_id, **rows[case_id], **contrast, **others})
    return Listing(rows=table, name=_name(source), notes=found.notes)


@dataclass
class _Found:
    source: Path
    options: BidsOptions
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells = Cells(
            prefer=self.options.prefer,
            remedy="say which, by a word of its name (--prefer run-2)",
        )

    def read(self, cases: Mapping[Path, str]) -> None:
        """Offer the files of every subject's folder to the cells of its case."""
        images = {folder: _images(folder) for folder in cases}
        sessions = {
            f: {i.session for i in found} for f, found in images.items() if found
        }
        for folder, times in self._times(sessions).items():
            self._offer(folder, cases[folder], images[folder], times)

    def _offer(
        self,
        folder: Path,
        case: str,
        images: Sequence[_File],
        times: Mapping[str, str],
    ) -> None:
        here: dict[str, list[_File]] = {}
        for file in images:
            if file.session in times:
                role = f"{SEQUENCES[file.suffix]}_{times[file.session]}"
                here.setdefault(role, []).append(file)
        for role, offered in here.items():
            enhanced = [f for f in offered if _enhanced(f)]
            for file in (role.startswith("t1") and enhanced) or offered:
                self.cells.add(case, role, file.path)
        self._offer_masks(folder, case, here, times)

    def _offer_masks(
        self,
        folder: Path,
        case: str,
        here: Mapping[str, Sequence[_File]],
        times: Mapping[str, str],
    ) -> None:
        for mask in self._masks(folder.name):
            if mask.session in times:
                for role in self._mask_roles(mask, times[mask.session], here):
                    self.cells.add(case, f"mask_{role}", mask.path)
            elif not mask.session:
                self.notes.append(
                    f"{mask.path.name} left out: it does not say of which session it "
                    "is (ses-)."
                )

    def _times(self, sessions: Mapping[Path, set[str]]) -> dict[Path, dict[str, str]]:
        """Return each subject's pre and post by session: as told, by name or order."""
        given = {self.options.pre: "pre", self.options.post: "post"}
        given.pop("", None)
        if given:
            self._check_given(given, sessions)
            return {
                folder: {s: given[s] for s in own if s in given}
                for folder, own in sessions.items()
            }
        times = {folder: self._by_name(folder, own) for folder, own in sessions.items()}
        orders = {
            f: _in_time(f, sessions[f]) for f, named in times.items() if not named
        }
        return times | self._by_order(orders)

    def _check_given(
        self, given: Mapping[str, str], sessions: Mapping[Path, set[str]]
    ) -> None:
        """Refuse a session that no subject has; note the subjects that have none."""
        known = set().union(*sessions.values())
        for session, time in given.items():
            if session not in known:
                there = few(sorted(known - {""}, key=_natural)) or "none"
                raise CohortError(
                    f"No subject has ses-{session}, given with --{time}: the sessions "
                    f"are {there}."
                )
        for folder, own in sessions.items():
            if not own & given.keys():
                self.notes.append(f"{folder.name} left out: it has no session given.")

    def _by_name(self, folder: Path, sessions: set[str]) -> dict[str, str]:
        named: dict[str, str] = {}
        for session in sorted(sessions):
            time = meaning(session, ("pre", "post"), {})
            if time in named.values():
                raise CohortError(
                    f"{folder.name} has two sessions that could be '{time}': say "
                    f"which with --{time}."
                )
            if time:
                named[session] = time
        if named:
            self._leave_out(folder, sessions - named.keys())
        return named

    def _by_order(self, orders: Mapping[Path, list[str]]) -> dict[Path, dict[str, str]]:
        """Return pre and post of sessions in time; one alone is what others show."""
        pairs = [order for order in orders.values() if len(order) == 2]
        labels = {session for order in orders.values() for session in order} - {""}
        shown: dict[str, set[str]] = defaultdict(set, {"": {"pre"}})
        for order in pairs or [sorted(labels, key=_natural)]:
            for session, time in zip(order, TIMES, strict=False):
                shown[session].add(time)
        return {
            folder: self._in_order(folder, order, shown)
            for folder, order in orders.items()
        }

    def _in_order(
        self, folder: Path, order: list[str], shown: Mapping[str, set[str]]
    ) -> dict[str, str]:
        if len(order) > 2:
            raise CohortError(
                f"{folder.name} has {len(order)} sessions ({few(order)}): say which "
                "two are meant with --pre and --post."
            )
        times = list(TIMES) if len(order) == 2 else sorted(shown[order[0]])
        if len(times) != len(order):
            raise CohortError(
                f"{folder.name} has only ses-{order[0]}, and no other subject shows "
                "which it is: say so with --pre or --post, or name it ses-pre or "
                "ses-post."
            )
        if order != [""]:
            told = " and ".join(f"ses-{session}" for session in order)
            which = ", ".join(times)
            self.notes.append(f"{folder.name}: {told} taken as {which} by order.")
        return dict(zip(order, times, strict=True))

    def _leave_out(self, folder: Path, sessions: set[str]) -> None:
        if sessions:
            names = few(f"ses-{session}" for session in sorted(sessions))
            self.notes.append(f"{folder.name}: {names} left out, neither pre nor post.")

    def _masks(self, subject: str) -> list[_File]:
        folder = self.source / "derivatives"
        # By level, so that a large data set is not walked once for every subject.
        paths = sorted(
            path
            for pipeline in ("", "*/")
            for session in ("", "ses-*/")
            for path in folder.glob(f"{pipeline}{subject}/{session}anat/*")
        )
        files = [_File.of(path) for path in paths if is_volume(path)]
        masks = [file for file in files if file.suffix in MASKS and not _anatomy(file)]
        plain = [f for f in masks if f.suffix == "mask" and "label" not in f.entities]
        if plain:
            names = few(file.path.name for file in plain)
            self.notes.append(
                f"{names} left out: a mask says of what it is (label-, as "
                "label-lesion_mask)."
            )
        return [file for file in masks if file not in plain]

    def _mask_roles(
        self, mask: _File, time: str, here: Mapping[str, Sequence[_File]]
    ) -> list[str]:
        """Return the volumes that a mask belongs to: as told in it, else the only."""
        roles = [role for role in here if role.endswith(time)]
        said = _sequence_said(mask)
        if said is None and len(roles) > 1:
            said = self.options.mask_of or None
            if said is None:
                raise CohortError(
                    f"{mask.path.name} does not say whether it was drawn on T1 or T2: "
                    "say so with --mask-of t1, t2 or both."
                )
        if said in (None, "both"):
            return roles
        return [role for role in roles if role.startswith(str(said))]

    def contrast(self, row: Row) -> dict[str, str]:
        """Return the cell that says whether every t1 of a case is enhanced."""
        t1 = [_File.of(Path(p)) for c, p in row.items() if c.startswith("t1_")]
        if not t1:
            return {}
        return {"contrast": "yes" if all(_enhanced(file) for file in t1) else "no"}

    def tell_contrast(self, rows: Mapping[str, Row]) -> None:
        """Note the T1 volumes that do not say that contrast agent was given."""
        paths = [
            Path(path)
            for row in rows.values()
            for column, path in row.items()
            if column.startswith("t1_")
        ]
        plain = [path.name for path in paths if not _enhanced(_File.of(path))]
        if plain:
            self.notes.append(
                f"{len(plain)} T1 volumes do not say that contrast agent was given "
                f"(no ce- in the name): {few(plain)}."
            )


def _images(folder: Path) -> list[_File]:
    files = [
        _File.of(path)
        for pattern in ("anat/*", "ses-*/anat/*")
        for path in sorted(folder.glob(pattern))
        if is_volume(path)
    ]
    return [
        file
        for file in files
        if file.suffix in SEQUENCES and file.entities.get("part", "mag") == "mag"
    ]


def _anatomy(file: _File) -> bool:
    names = {file.entities.get(key, "").lower() for key in ("label", "desc")}
    return bool(names & ANATOMY)


def _enhanced(file: _File) -> bool:
    return "ce" in file.entities or bool(_sidecar(file).get("ContrastBolusIngredient"))


def _sidecar(file: _File) -> dict[str, Any]:
    # It may be absent: nothing in it is needed.
    return read_record(file.path.with_name(stem(file.path.name) + ".json"))


def _sequence_said(mask: _File) -> str | None:
    """Return the sequence that a mask's name, or its sidecar, ties it to."""
    said = _sidecar(mask)
    sources = [
        said.get(key, ()) for key in ("Sources", "RawSources", "SpatialReference")
    ]
    text = " ".join([mask.path.name, json.dumps(sources)])
    named = {key for word, key in SEQUENCES.items() if word in text}
    if not named and "ce" in mask.entities:
        named = {"t1"}
    return named.pop() if len(named) == 1 else None


def _in_time(folder: Path, sessions: set[str]) -> list[str]:
    """Return sessions by the time of acquisition, else by label, numbers by value."""
    rows = _table(folder / f"{folder.name}_sessions.tsv", "session_id")
    when = {
        name.removeprefix("ses-"): row.get("acq_time") for name, row in rows.items()
    }
    if all(when.get(session) for session in sessions):
        return sorted(sessions, key=lambda session: str(when[session]))
    return sorted(sessions, key=_natural)


def _natural(session: str) -> list[str]:
    return [part.zfill(9) for part in re.findall(r"\d+|\D+", session)]


def _table(path: Path, key: str) -> dict[str, dict[str, str]]:
    return read_clinical(path, (key,)) if path.exists() else {}


def _name(source: Path) -> str:
    about = source / "dataset_description.json"
    said = read_object(about) if about.exists() else {}
    return str(said.get("Name") or source.resolve().name)
