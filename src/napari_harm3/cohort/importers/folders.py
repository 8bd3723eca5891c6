"""Any orderly folder as a cohort table, by templates of its paths.

A template is a path with fields: ``{id}/{time}/{seq}.nii.gz``. ``{id}`` names the case,
``{time}`` and ``{seq}`` are words with a meaning (`listing.WORDS` and the user's own),
``{role}`` is a column itself; any other field, and ``*``, match whatever stands there.
What a template does not say stands before it: ``mask_t2={id}_{time}_mask.nii.gz``.
One that ends in ``/`` matches folders, of DICOM.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.importers.config import FolderOptions
from napari_harm3.cohort.importers.listing import (
    KEYS,
    WORDS,
    Cells,
    Listing,
    Row,
    case_ids,
    clinical_notes,
    few,
    is_volume,
    meaning,
    plain_word,
    read_clinical,
    stem,
)
from napari_harm3.cohort.rows import MASKS
from napari_harm3.errors import CohortError

FIELD = re.compile(r"\{(\w+)\}|\*")
NEEDED = {"seq": ("t1", "t2"), "time": ("pre", "post")}
COLUMNS = (*ROLES, *MASKS)

READY = {
    "hnts-mrg": (
        "t2_pre={id}/preRT/{id}_preRT_T2.nii.gz",
        "mask_t2_pre={id}/preRT/{id}_preRT_mask.nii.gz",
        "t2_post={id}/midRT/{id}_midRT_T2.nii.gz",
        "mask_t2_post={id}/midRT/{id}_midRT_mask.nii.gz",
        "-={id}/midRT/{id}_preRT_*_registered.nii.gz",
    ),
    "hnts-mrg-registered": (
        "t2_pre={id}/midRT/{id}_preRT_T2_registered.nii.gz",
        "mask_t2_pre={id}/midRT/{id}_preRT_mask_registered.nii.gz",
        "t2_post={id}/midRT/{id}_midRT_T2.nii.gz",
        "mask_t2_post={id}/midRT/{id}_midRT_mask.nii.gz",
        "-={id}/preRT/{id}_preRT_*.nii.gz",
    ),
}
"""Templates by name; those of ``-`` are known and left out."""

READY_NOTE = "midRT, during radiotherapy, stands as post; the sequence is T2 only."


@dataclass(frozen=True)
class _Template:
    """A template as a pattern, and what it says by itself."""

    text: str
    pattern: re.Pattern[str]
    says: frozenset[str]
    """Of t1, t2, pre, post, mask; ``-`` for what is left out."""

    def column(self, found: Mapping[str, str], own: Mapping[str, str]) -> str | None:
        """Return the column that a matching path belongs to; None if no word fits."""
        if "role" in found:
            return found["role"].lower() if found["role"].lower() in COLUMNS else None
        said = set(self.says)
        for name, word in found.items():
            if name in NEEDED:
                said.add(meaning(word, (*NEEDED[name], "mask"), own) or "")
        sequence, time = (said & set(NEEDED[name]) for name in ("seq", "time"))
        if len(sequence) != 1 or len(time) != 1:
            return None
        role = f"{sequence.pop()}_{time.pop()}"
        return f"mask_{role}" if "mask" in said else role


def list_folders(source: Path, options: FolderOptions) -> Listing:
    """Return the cases of a folder whose paths follow templates.

    Raises
    ------
    CohortError
        If a template is wrong, nothing matches, or two files match one cell.
    """
    own = _own_words(options.words)
    texts = [text for t in options.template for text in READY.get(t, (t,))]
    templates = [_parse(text, own) for text in texts]
    matched = _match(source, templates, own)
    ids = case_ids(sorted(matched.names))
    rows = matched.cells.rows()
    if not rows:
        raise CohortError(
            f"Nothing in {source.name} matches {few(options.template)}: "
            f"{len(matched.odd)} files were looked at, first {few(matched.odd) or '-'}."
        )
    clinical = _clinical(options.clinical)
    table: list[Row] = [
        {"case_id": ids[name], **rows[name], **clinical.get(name, {})}
        for name in sorted(rows)
    ]
    notes = [READY_NOTE] if READY.keys() & set(options.template) else []
    notes += _notes(matched.odd, table) + clinical_notes(sorted(rows), clinical)
    return Listing(rows=table, name=source.resolve().name, notes=notes)


def _own_words(given: Sequence[str]) -> dict[str, str]:
    own = {}
    for text in given:
        word, _, key = text.partition("=")
        if not word or key not in WORDS:
            raise CohortError(
                f"'{text}' gives no word a meaning: write WORD=pre, post, t1, t2 or "
                "mask."
            )
        own[plain_word(word)] = key
    return own


def _parse(text: str, own: Mapping[str, str]) -> _Template:
    """Return a template as a pattern over paths relative to the source.

    Raises
    ------
    CohortError
        If it names no case, has a field that is no word, or cannot say sequence and
        time.
    """
    said, equals, path = text.partition("=")
    if not equals:
        said, path = "", text
    says = frozenset(part for part in said.split("_") if part)
    fields = {match[1] for match in FIELD.finditer(path) if match[1]}
    odd = [name for name in sorted(fields) if not name.isidentifier()]
    if odd:
        raise CohortError(
            f"'{text}' is no template: a field is a word that begins with a letter, "
            f"which {{{odd[0]}}} is not."
        )
    if says - {*WORDS, "-"} or "id" not in fields:
        raise CohortError(
            f"'{text}' is no template: it needs {{id}}, and before a = only t1, t2, "
            "pre, post and mask, as in mask_t2={id}_{time}_mask.nii.gz."
        )
    for name, values in NEEDED.items():
        if not ({name, "role"} & fields or says & {*values, "-"}):
            raise CohortError(
                f"'{text}' does not say {' or '.join(values)}: add {{{name}}}, or "
                f"write {values[0]}= before it."
            )
    return _Template(text, re.compile(_pattern(path, own)), says)


def _pattern(path: str, own: Mapping[str, str]) -> str:
    pattern, end, seen = "", 0, set()
    for match in FIELD.finditer(path):
        pattern += re.escape(path[end : match.start()])
        name, end = match[1], match.end()
        if name is None:
            pattern += "[^/]*"
        elif name in seen:
            pattern += f"(?P={name})"
        else:
            seen.add(name)
            pattern += f"(?P<{name}>{_values(name, own)})"
    # Data sets write .nii.gz and .NII.GZ as they like.
    rest = stem(path[end:])
    suffix = path[end + len(rest) :]
    return f"{pattern}{re.escape(rest)}(?i:{re.escape(suffix)})"


def _values(name: str, own: Mapping[str, str]) -> str:
    """Return what a field matches; words are listed, so that ids may hold ``_``."""
    if name == "role":
        return "(?i:" + "|".join(sorted(COLUMNS, key=len, reverse=True)) + ")"
    if name not in NEEDED:
        return "[^/]+?"
    keys = (*NEEDED[name], "mask")
    words = {word for key in keys for word in WORDS[key].split()}
    words |= {word for word, key in own.items() if key in keys}
    # A hyphen or underscore inside a word does not count, as in `meaning`.
    flexible = ["[-_]?".join(map(re.escape, word)) for word in words]
    return "(?i:" + "|".join(sorted(flexible, key=len, reverse=True)) + ")"


@dataclass
class _Matched:
    cells: Cells = field(
        default_factory=lambda: Cells(remedy="make the template say which")
    )
    names: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)


def _match(
    source: Path, templates: Sequence[_Template], own: Mapping[str, str]
) -> _Matched:
    matched = _Matched()
    folders = any(template.text.endswith("/") for template in templates)
    for path, text in _paths(source, folders=folders):
        column = None
        for template in templates:
            found = template.pattern.fullmatch(text)
            if found is None:
                continue
            column = "-" if "-" in template.says else None
            column = column or template.column(found.groupdict(), own)
            if column not in (None, "-"):
                matched.cells.add(found["id"], str(column), path)
                matched.names.add(found["id"])
            if column is not None:
                break
        if column is None and not text.endswith("/"):
            matched.odd.append(text)
    return matched


def _paths(source: Path, *, folders: bool) -> Iterator[tuple[Path, str]]:
    """Yield volumes, and folders if asked, with their paths as templates write them."""
    for root, names, files in os.walk(source):
        names[:] = sorted(name for name in names if not name.startswith("."))
        here = Path(root)
        if folders and here != source:
            yield here, here.relative_to(source).as_posix() + "/"
        for name in sorted(files):
            path = here / name
            if is_volume(path):
                yield path, path.relative_to(source).as_posix()


def _clinical(path: Path | None) -> dict[str, dict[str, str]]:
    return {} if path is None else read_clinical(path, KEYS)


def _notes(odd: Sequence[str], rows: Sequence[Row]) -> list[str]:
    notes = []
    if odd:
        notes.append(f"{len(odd)} files match no template: {few(odd)}.")
    alone = [
        str(row["case_id"])
        for row in rows
        if any(c.startswith("mask_") and c[5:] not in row for c in row)
    ]
    if alone:
        notes.append(
            f"{len(alone)} cases have an annotation without its volume, which "
            f"`harm3 check` will refuse: {few(alone)}."
        )
    return notes
