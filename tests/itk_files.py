"""NRRD and MetaImage files, put together as their formats' authors describe them."""

import numpy as np

SHAPE = (5, 4, 3)
DIRECTIONS = np.array([[0.0, 1.6, 0.0], [1.2, 0.0, 0.9], [-2.4, 0.0, 3.2]])
"""Step along each array axis, in the file's space, mm."""

ORIGIN = np.array([-7.5, 11.0, 40.25])


def vector(numbers):
    return "(" + ",".join(f"{number}" for number in numbers) + ")"


def nrrd(array, *, pack=None, **changes):
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "5 4 3",
        "space directions": " ".join(vector(step) for step in DIRECTIONS),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw" if pack is None else "gzip",
        "space origin": vector(ORIGIN),
    } | {name.replace("_", " "): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    data = array.astype("<i2").tobytes(order="F")
    head = "\n".join(["NRRD0004", "# made by hand", *lines]) + "\n"
    return head.encode() + b"\n" + (data if pack is None else pack(data))


def metaimage(array, *, pack=None, **changes):
    spacing = np.linalg.norm(DIRECTIONS, axis=1)
    matrix = (DIRECTIONS / spacing[:, None]).ravel()
    data = array.astype("<i2").tobytes(order="F")
    packed = data if pack is None else pack(data)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False" if pack is None else "True",
        "CompressedDataSize": None if pack is None else str(len(packed)),
        "TransformMatrix": " ".join(f"{number}" for number in matrix),
        "Offset": " ".join(f"{number}" for number in ORIGIN),
        "ElementSpacing": " ".join(f"{number}" for number in spacing),
        "DimSize": "5 4 3",
        "ElementType": "MET_SHORT",
        **changes,
    }
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")  # the last
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    return ("\n".join(lines) + "\n").encode() + packed
