"""Which slides lie in a folder."""

from pathlib import Path

from napari_harm3.wsi.slide import dicom_series, is_dicom_slide

SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".czi",
    ".dcm",
)
"""What files of slides end in."""


def slides_at(path: Path) -> list[Path]:
    """Return the slides that a path stands for: those of a folder, or itself.

    What cannot be looked at stands for itself, so that opening it tells why.
    """
    try:
        return (slides_in(path) if path.is_dir() else []) or [path]
    except OSError:
        return [path]


def slides_in(folder: Path) -> list[Path]:
    """Return the slides in a folder and its subfolders, in order of their names.

    Files are known by their suffix, so that a damaged one is not passed over. A
    folder of one DICOM slide stands for its files, whose names may lack a suffix. A
    folder that links lead to again is looked into once.
    """
    return _slides_below(folder, set())


def _slides_below(folder: Path, seen: set[Path]) -> list[Path]:
    seen.add(folder.resolve())
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    except OSError:
        return [folder]
    dicom = [entry for entry in entries if _seems_dicom(entry)]
    found: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            pixels = entry.with_suffix(".mrxs").exists()
            if not pixels and entry.resolve() not in seen:
                found += _slides_below(entry, seen)
        elif entry.suffix.lower() in SUFFIXES and entry not in dicom:
            found.append(entry)
    series = _by_series(dicom)
    if len(series) == 1 and not found:
        return [folder]
    return sorted([*series, *found])


def _seems_dicom(entry: Path) -> bool:
    return entry.suffix.lower() == ".dcm" or (
        not entry.suffix and entry.is_file() and is_dicom_slide(entry)
    )


def _by_series(files: list[Path]) -> list[Path]:
    """Return one file of each DICOM series; what cannot be opened stands alone."""
    first: dict[str, Path] = {}
    for file in files:
        series = dicom_series(file) if file.is_file() else None  # no pipe
        first.setdefault(series or file.name, file)
    return list(first.values())
