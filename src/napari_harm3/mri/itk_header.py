"""The text headers of NRRD and MetaImage, field by field, and whether to believe them.

ITK's own readers put a default where a header is silent, follow whatever path it names,
and die of some damaged ones (a segmentation fault, which would end the viewer). So what
must be said is demanded here, and the data are kept to the header's own folder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import check_affine
from napari_harm3.mri.header import damaged
from napari_harm3.mri.volume import MOST_BYTES, file_bytes, too_large

HEADER_BYTES = 1 << 16

NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int"), "i2"),
    **dict.fromkeys(("int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int"), "u2"),
    **dict.fromkeys(("uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int"), "i8"),
    **dict.fromkeys(("signed long long", "signed long long int"), "i8"),
    **dict.fromkeys(("int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long"), "u8"),
    **dict.fromkeys(("unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
"""numpy's name of a voxel's type, by NRRD's."""

META_TYPES = {
    "met_char": "i1",
    "met_uchar": "u1",
    "met_short": "i2",
    "met_ushort": "u2",
    "met_int": "i4",
    "met_uint": "u4",
    "met_long": "i4",
    "met_ulong": "u4",
    "met_long_long": "i8",
    "met_ulong_long": "u8",
    "met_float": "f4",
    "met_double": "f8",
}

BYTE_ORDERS = {"little": "<", "big": ">", "false": "<", "true": ">"}
"""As NRRD says it, and as MetaImage does: whether the largest byte comes first."""

SPACES = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
}
"""NRRD's patient spaces, and their signs in RAS; no other tells left from right."""

LPS = SPACES["lps"]
"""The space of MetaImage as ITK writes it."""

GZIP, ZLIB = 31, 15
"""How `zlib` is told which of its two formats a stream has."""


@dataclass(frozen=True, kw_only=True)
class TextHeader:
    """What a text header says of its voxels, and where they lie."""

    name: str
    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    dtype: np.dtype[Any]
    packing: int | None
    """`GZIP`, `ZLIB`, or None for plain numbers."""

    data_file: Path | None
    """Where the voxels are, if not behind the header."""

    offset: int
    """Length of the header itself, where the voxels follow it."""

    @property
    def size_bytes(self) -> int:
        """Length of the voxels, unpacked."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_header(path: Path) -> TextHeader:
    """Return what a header says; the voxels are not read.

    Raises
    ------
    VolumeError
        If it describes no single 3-D volume in a patient's space, leaves out what it
        must say, is too large, or its data lie outside its folder.
    """
    content = file_bytes(path, most=HEADER_BYTES)
    read = _nrrd if content.startswith(b"NRRD000") else _metaimage
    header = read(path, content)
    check_affine(path.name, header.affine)
    needed = max(header.size_bytes, 4 * header.size_bytes // header.dtype.itemsize)
    if needed > MOST_BYTES:
        raise too_large(path.name, needed)
    return header


def _nrrd(path: Path, content: bytes) -> TextHeader:
    end = re.search(rb"\r?\n\r?\n", content)
    text = content[: end.start()] if end else content
    fields = _fields(path.name, text, r"([^:#]+): (.*)")
    name = path.name
    signs = SPACES.get(fields.get("space", "").lower())
    if signs is None or not {"space directions", "space origin"} <= fields.keys():
        raise _placeless(name, "space, space directions, space origin")
    units = set(re.findall(r'"(.*?)"', fields.get("space units", "")))
    if not units <= {"mm", ""}:
        raise VolumeError(f"{name} gives its lengths in another unit: save it in mm.")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise VolumeError(
            f"{name} has the encoding {_short(encoding)}: save it as raw or gzip."
        )
    skips = [fields.get(f"{unit} skip", "0") for unit in ("line", "byte")]
    skips += [fields.get(f"{unit}skip", "0") for unit in ("line", "byte")]
    if set(skips) != {"0"}:
        raise VolumeError(f"{name} skips a part of its data: save it as one .nrrd.")
    given = fields.get("data file", fields.get("datafile"))
    if given is None and end is None:
        raise damaged(name, "it ends inside its header")
    return TextHeader(
        name=name,
        shape=_shape(name, fields, "dimension", "sizes"),
        affine=_affine(
            signs,
            _vectors(name, fields["space directions"], 3),
            _vectors(name, fields["space origin"], 1)[0],
        ),
        dtype=_dtype(name, fields.get("type"), NRRD_TYPES, fields.get("endian")),
        packing=None if encoding == "raw" else GZIP,
        data_file=None if given is None else _inside(path, given),
        offset=end.end() if end and given is None else 0,
    )


def _metaimage(path: Path, content: bytes) -> TextHeader:
    name = path.name
    end = re.search(rb"^ *ElementDataFile *=.*\n?", content, re.MULTILINE)
    if end is None:
        raise damaged(name, "its header does not say where its voxels are")
    fields = _fields(name, content[: end.end()], r"([^=]+)=(.*)")
    _check_metaimage(name, fields)
    steps, origin = _metaimage_place(name, fields)
    msb = _one_of(fields, "binarydatabyteordermsb", "elementbyteordermsb")
    given = fields["elementdatafile"]
    return TextHeader(
        name=name,
        shape=_shape(name, fields, "ndims", "dimsize"),
        affine=_affine(LPS, steps, origin),
        dtype=_dtype(name, fields.get("elementtype"), META_TYPES, msb),
        packing=ZLIB if fields.get("compresseddata", "").lower() == "true" else None,
        data_file=None if given == "LOCAL" else _inside(path, given),
        offset=end.end() if given == "LOCAL" else 0,
    )


def _check_metaimage(name: str, fields: Mapping[str, str]) -> None:
    """Demand what ITK would put a default for, and refuse what it would guess."""
    if fields.get("objecttype", "Image") != "Image":
        raise VolumeError(f"{name} is a MetaImage of no image: give a volume.")
    if fields.get("elementnumberofchannels", "1") != "1":
        raise VolumeError(
            f"{name} holds several numbers a voxel; export it with one real number."
        )
    if fields.get("headersize", "0") != "0":
        raise VolumeError(f"{name} skips a part of its data: save it as one .mha.")
    if fields.get("binarydata", "").lower() != "true":
        raise VolumeError(f"{name} holds its voxels as text: save it as binary.")
    if fields.get("distanceunits", "mm") not in ("mm", "?"):
        raise VolumeError(f"{name} gives its lengths in another unit: save it in mm.")


def _metaimage_place(
    name: str, fields: Mapping[str, str]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Return the steps along the array axes, a row each, and the first voxel."""
    matrix = _one_of(fields, "transformmatrix", "rotation", "orientation")
    offset = _one_of(fields, "offset", "position", "origin")
    told = fields.get("elementspacing")
    if matrix is None or offset is None or told is None:
        raise _placeless(name, "TransformMatrix, Offset, ElementSpacing")
    spacing = _numbers(name, told, 3)
    if not min(spacing) > 0:
        raise VolumeError(
            f"{name} has a voxel spacing of {_short(told)}; it must be above zero: "
            "export it again."
        )
    directions = np.reshape(_numbers(name, matrix, 9), (3, 3))
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(directions, axis=1)
    if (np.abs(lengths - 1) > 1e-3).any():
        raise damaged(name, "the rows of its TransformMatrix are not of length one")
    origin = np.array(_numbers(name, offset, 3))
    return directions * np.array(spacing)[:, None], origin


def _one_of(fields: Mapping[str, str], *names: str) -> str | None:
    """Return the value of a field of many names; None if it is not one of them."""
    found = [fields[name] for name in names if name in fields]
    return found[0] if len(found) == 1 else None


def _affine(
    signs: tuple[int, int, int],
    steps: Float[np.ndarray, "3 3"],
    origin: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "4 4"]:
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(steps)
    affine[:3, 3] = origin
    return np.asarray(np.diag([*signs, 1.0]) @ affine)


def _fields(name: str, text: bytes, pattern: str) -> dict[str, str]:
    """Return the fields of a header, by name in lower case."""
    fields: dict[str, str] = {}
    for line in text.decode("latin-1").split("\n"):
        match = re.fullmatch(pattern, line.rstrip("\r"))
        if match is None:
            continue
        key, value = match[1].strip().lower(), match[2].strip()
        if key in fields:
            raise damaged(name, f"it says its {key} twice")
        fields[key] = value
    return fields


def _shape(
    name: str, fields: Mapping[str, str], axes: str, sizes: str
) -> tuple[int, int, int]:
    shape = _numbers(name, fields.get(sizes, ""))
    if fields.get(axes) != str(len(shape)):
        raise damaged(name, f"its {axes} and its {sizes} do not match")
    if any(n < 1 or n != int(n) or n >= 2**31 for n in shape):
        raise damaged(name, f"its sizes are {_short(fields[sizes])}")
    whole = tuple(int(n) for n in shape)
    if len(whole) != 3:
        raise VolumeError(
            f"{name} has shape {whole}: one three-dimensional volume of one number a "
            "voxel is needed."
        )
    return whole[0], whole[1], whole[2]


def _numbers(name: str, text: str, count: int | None = None) -> list[float]:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError as error:
        raise damaged(name, f"{_short(text)} are no numbers") from error
    if count is not None and len(numbers) != count:
        raise damaged(name, f"{_short(text)} are not {count} numbers")
    if not np.isfinite(numbers).all():
        raise damaged(name, f"{_short(text)} are not all finite")
    return numbers


def _vectors(name: str, text: str, count: int) -> Float[np.ndarray, "count 3"]:
    """Return NRRD's ``(x,y,z)`` vectors."""
    if not re.fullmatch(r"\([^()]*\)( +\([^()]*\))*", text):
        raise damaged(name, f"{_short(text)} are no vectors")
    rows = re.findall(r"\(([^()]*)\)", text)
    if len(rows) != count:
        raise damaged(name, f"{_short(text)} are not {count} vectors")
    return np.array([_numbers(name, row.replace(",", " "), 3) for row in rows])


def _dtype(
    name: str, told: str | None, types: Mapping[str, str], byte_order: str | None
) -> np.dtype[Any]:
    if told is None or told.lower() not in types:
        raise VolumeError(
            f"{name} holds voxels of the type {_short(str(told))}; export it with one "
            "real number a voxel."
        )
    dtype = np.dtype(types[told.lower()])
    order = BYTE_ORDERS.get((byte_order or "").lower())
    if order is None and dtype.itemsize > 1:
        raise damaged(name, "it does not say its byte order")
    return np.dtype((order or "") + types[told.lower()])


def _short(value: str) -> str:
    """Return a field's value as a message may show it."""
    return ascii(value[:40])


def _inside(path: Path, given: str) -> Path:
    """Return the data file that a header names, if it lies in the header's folder."""
    folder = path.parent.resolve()
    plain = given and not Path(given).is_absolute() and "\\" not in given
    if not plain or given.split(maxsplit=1)[0] == "LIST" or "%" in given:
        raise VolumeError(
            f"{path.name} must name one data file beside it: save it as one file."
        )
    try:
        found = (folder / given).resolve()
        there = found.is_file()
    except (OSError, ValueError) as error:  # a name too long, or with a null in it
        raise damaged(path.name, "its data file has an impossible name") from error
    if not found.is_relative_to(folder):
        raise VolumeError(
            f"{path.name} takes its voxels from outside its folder, which is refused: "
            "put both files into one folder."
        )
    if not there:
        raise VolumeError(
            f"{path.name} has its voxels in {found.name}, which is not there: copy "
            "that file too."
        )
    return found


def _placeless(name: str, fields: str) -> VolumeError:
    return VolumeError(
        f"{name} does not say where it lies ({fields}): export it with its orientation."
    )
