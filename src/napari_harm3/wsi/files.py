"""The files that a slide is made of: known by content, and watched for changes."""

import hashlib
from pathlib import Path

PROBE_BYTES = 1 << 22
"""A file up to sixteen times this is fingerprinted whole, a larger one by probes."""

Stamp = tuple[int, int, int]


class SlideFiles:
    """The files of an open slide.

    Parameters
    ----------
    main
        The one that was opened, whose content tells slides apart.
    """

    def __init__(self, main: Path) -> None:
        self.main = main
        self._stamps = {main: _stamp(main)}

    def watch_parts(self, vendor: str) -> None:
        """Watch the other files too that a vendor's format spreads a slide over."""
        if vendor == "dicom":
            near = self.main.parent.iterdir()
            parts = [part for part in near if part.suffix == self.main.suffix]
        elif vendor == "mirax":
            parts = list(self.main.with_suffix("").iterdir())
        else:
            return
        # A folder changes with every file that is written into it.
        found = {part: _stamp(part) for part in parts if part.is_file()}
        self._stamps = found | self._stamps

    @property
    def changed(self) -> bool:
        """Whether one of them has another size, time or place on the disk now."""
        return any(_stamp(part) != stamp for part, stamp in self._stamps.items())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the main one; if it is large, of its size and sixteen probes."""
        digest = hashlib.sha256()
        size = self.main.stat().st_size
        with self.main.open("rb") as stream:
            if size <= 16 * PROBE_BYTES:
                digest.update(stream.read())
            else:
                digest.update(size.to_bytes(8, "little"))
                for probe in range(16):
                    stream.seek((size - PROBE_BYTES) * probe // 15)
                    digest.update(stream.read(PROBE_BYTES))
        return digest.hexdigest()


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino
