"""Files that are made: each is written whole or not at all, and known by content."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Rights that new files go without. It is the process's, and to read it is to change it
for a moment: not while another thread may make a file."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it there on success.

    What is written reaches the disk before the new name does, and an error leaves
    neither a half-written file nor the temporary one.

    Raises
    ------
    OSError
        Naming ``path``, whichever of the two it was that could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told_of(path), _temporary(path) as temporary:
        yield temporary
        _sync(temporary, os.O_RDWR)  # Windows syncs what may be written alone
        temporary.chmod(0o666 & ~UMASK)
        temporary.replace(path)
        if os.name != "nt":  # which opens no folder
            _sync(path.parent, os.O_RDONLY)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    # The suffixes are kept, because writers choose their format by them.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f"-{path.name}")
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Name ``path`` in an error that names no file, or the temporary one beside it."""
    try:
        yield
    except OSError as error:
        name = Path(error.filename or "").name
        temporary = name.startswith(".") and name.endswith(f"-{path.name}")
        # One without a number is a library's own, and would lose its words.
        if error.errno is not None and (temporary or error.filename is None):
            error.filename = str(path)
        raise


def numbered(folder: Path, prefix: str) -> list[Path]:
    """Return the folders in a folder that are named by prefix and number, in order."""
    found = [
        path
        for path in folder.glob(f"{prefix}*")
        if path.is_dir() and path.name.removeprefix(prefix).isdecimal()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix(prefix)))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, plain: object) -> None:
    """Write JSON atomically; a NaN is refused, since JSON has none."""
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object that was kept in a file; an empty one if it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_csv(
    path: Path,
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str],
    *,
    lineterminator: str = "\n",
) -> None:
    """Write columns of rows as a table, atomically; None is a blank."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, lineterminator=lineterminator, extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path, access: int) -> None:
    descriptor = os.open(path, access)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
