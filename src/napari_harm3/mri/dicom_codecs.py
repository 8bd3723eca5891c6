"""Decoders that pydicom lacks, from imagecodecs: lossless JPEG and high-throughput J2K.

pydicom's own choice for lossless JPEG, which hospital archives use most, is a package
under the GPL. The names below are the ones that pydicom asks a plugin for.
"""

from typing import Any

import imagecodecs
import numpy as np

LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
HIGH_THROUGHPUT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")
LABEL = "imagecodecs"

DECODER_DEPENDENCIES = dict.fromkeys(
    (*LOSSLESS_JPEG, *HIGH_THROUGHPUT), ("imagecodecs",)
)


def is_available(uid: str) -> bool:
    """Return whether a transfer syntax can be decoded here."""
    codec = imagecodecs.JPEGSOF3 if uid in LOSSLESS_JPEG else imagecodecs.HTJ2K
    return uid in DECODER_DEPENDENCIES and bool(codec.available)


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Return a frame's pixels as little-endian bytes."""
    if runner.transfer_syntax in LOSSLESS_JPEG:
        pixels = imagecodecs.jpegsof3_decode(source)
    else:
        pixels = imagecodecs.htj2k_decode(source)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()


def add_decoders() -> None:
    """Make the decoders known to pydicom; twice does no harm."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(UID(uid))
        if is_available(uid) and LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))
