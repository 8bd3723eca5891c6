"""NIfTI files put together, and read, byte by byte as the standard lays them out."""

import struct

import numpy as np

CODES = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
}

FIELDS_1 = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}
"""Place and type of the fields of a NIfTI-1 header that mean something for a grid."""

FIELDS_2 = {
    "sizeof_hdr": (0, "i"),
    "magic": (4, "8s"),
    "datatype": (12, "h"),
    "bitpix": (14, "h"),
    "dim": (16, "8q"),
    "pixdim": (104, "8d"),
    "vox_offset": (168, "q"),
    "scl_slope": (176, "d"),
    "scl_inter": (184, "d"),
    "qform_code": (344, "i"),
    "sform_code": (348, "i"),
    "quatern": (352, "3d"),
    "qoffset": (376, "3d"),
    "srow": (400, "12d"),
    "xyzt_units": (500, "i"),
}

AFFINE = np.array(
    [[-0.9, 0.0, 0.6, 40], [0.0, 1.5, 0.0, -30], [1.2, 0.0, 0.45, 12], [0, 0, 0, 1.0]]
)
"""Orthogonal axes, oblique by 53 degrees, with three different spacings."""


def fields_of(version):
    """Return the length of a header, and where its fields are."""
    return (348, FIELDS_1) if version == 1 else (540, FIELDS_2)


def nifti(array, affine=AFFINE, *, order="<", version=1, tail=b"", **changes):
    """Return the bytes of a file with an sform, and with fields as given."""
    size, fields = fields_of(version)
    shape = array.shape
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    told = {
        "sizeof_hdr": size,
        "dim": (len(shape), *shape, *[1] * (7 - len(shape))),
        "datatype": CODES.get(array.dtype.str[1:], 0),
        "bitpix": 8 * array.dtype.itemsize,
        "pixdim": (1, *spacing, *[0] * 4),
        "vox_offset": size + 4,
        "xyzt_units": 2,
        "sform_code": 1,
        "srow": tuple(affine[:3].ravel()),
        "magic": b"n+1" if version == 1 else b"n+2\0\r\n\x1a\n",
    } | changes
    header = bytearray(size + 4)
    for name, value in told.items():
        place, kind = fields[name]
        values = value if isinstance(value, (tuple, list)) else (value,)
        struct.pack_into(order + kind, header, place, *values)
    data = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    return bytes(header) + data + tail


def field(content, name, *, order="<", version=1):
    """Return the numbers of a field."""
    place, kind = fields_of(version)[1][name]
    return struct.unpack_from(order + kind, content, place)


def qform_affine(content, *, order="<", version=1):
    """Return the affine of "method 2", in the words of nifti1.h."""
    b, c, d = field(content, "quatern", order=order, version=version)
    a = np.sqrt(max(1 - b * b - c * c - d * d, 0))
    rotation = np.array(
        [
            [
                a * a + b * b - c * c - d * d,
                2 * b * c - 2 * a * d,
                2 * b * d + 2 * a * c,
            ],
            [
                2 * b * c + 2 * a * d,
                a * a + c * c - b * b - d * d,
                2 * c * d - 2 * a * b,
            ],
            [
                2 * b * d - 2 * a * c,
                2 * c * d + 2 * a * b,
                a * a + d * d - c * c - b * b,
            ],
        ]
    )
    pixdim = field(content, "pixdim", order=order, version=version)
    qfac = -1 if pixdim[0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = rotation * (pixdim[1], pixdim[2], qfac * pixdim[3])
    affine[:3, 3] = field(content, "qoffset", order=order, version=version)
    return affine
