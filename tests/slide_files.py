"""Slides in real files, ways to damage them, and what the jobs say of them."""

import struct

import h5py
import numpy as np
import pydicom
import simplejpeg
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from napari_harm3.jobs.doctor import examine
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.slides import extract_features, find_tissue
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig

GLASS, PINK = 243, (220, 140, 190)
TILE = 128
HIT = 14
"""The tile that is damaged: third column and row of six by five."""

TINY = EncoderConfig(name="vit_tiny_patch16_224", depth=1, batch=4)


def biopsy(height=640, width=768):
    """Return a grained piece of tissue, 100 pixels of glass around it."""
    pixels = np.full((height, width, 3), GLASS, np.uint8)
    piece = pixels[100:-100, 100:-100]
    grain = np.random.default_rng(0).integers(0, 25, (*piece.shape[:2], 1))
    piece[:] = PINK + grain
    return pixels


def halves(pixels, levels):
    """Return a picture and its halves, by leaving out every other pixel."""
    return [pixels[:: 2**level, :: 2**level] for level in range(levels)]


def resolution(mpp):
    """Return the tags of a resolution, in tifffile's words."""
    if mpp is None:
        return {}
    return {"resolution": (1e4 / mpp,) * 2, "resolutionunit": "CENTIMETER"}


def write_slide(path, pictures=None, *, mpp=0.5, **options):
    """Write a pyramid of JPEG tiles, or as tifffile's options say."""
    options = {
        "tile": (TILE, TILE),
        "photometric": "rgb",
        "compression": "jpeg",
        "metadata": None,
    } | options
    if options["compression"] == "jpeg":
        options["compressionargs"] = {"level": 95}
    pictures = halves(biopsy(), 2) if pictures is None else pictures
    with tifffile.TiffWriter(path) as writer:
        for number, picture in enumerate(pictures):
            writer.write(
                picture, subfiletype=int(number > 0), **options, **resolution(mpp)
            )
    return path


def write_svs(path, mpp="0.5", power=20):
    """Write what Aperio writes: a pyramid, a thumbnail, a label and a macro picture."""
    pixels = biopsy()
    height, width, _ = pixels.shape
    head = "Aperio Image Library v10.0.51\r\n"
    about = f"{head}{width}x{height} ({TILE}x{TILE}) JPEG/RGB Q=95|AppMag = {power}"
    about += "" if mpp is None else f"|MPP = {mpp}"
    jpeg = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    tiled, strips = {"tile": (TILE, TILE)}, {"rowsperstrip": 16}
    small = f"{head}{width}x{height} -> {width // 8}x{height // 8} - |AppMag = {power}"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, description=about, **jpeg, **tiled)
        writer.write(pixels[::8, ::8], description=small, **jpeg, **strips)
        writer.write(pixels[::4, ::4], description=f"{about};", **jpeg, **tiled)
        for name, kind in (("label", 1), ("macro", 9)):
            about = f"{head}{name} 120x60"
            picture = pixels[:60, :120]
            writer.write(picture, description=about, subfiletype=kind, **jpeg, **strips)
    return path


def write_ome(path, picture, *, axes="YXS", levels=1, mpp=0.25, labels=((), ())):
    """Write an OME-TIFF, its smaller levels in SubIFDs as QuPath and Bio-Formats do.

    Labels are written before the slide and after it.
    """
    options = {"tile": (TILE, TILE), "compression": "deflate"}
    options["photometric"] = "rgb" if axes.endswith("S") else "minisblack"
    about = {"axes": axes, "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    before, after = labels
    with tifffile.TiffWriter(path, ome=True) as writer:
        for label in before:
            writer.write(label, photometric="rgb", metadata={"axes": "YXS"})
        writer.write(picture, subifds=levels - 1, metadata=about, **options)
        for smaller in halves(picture, levels)[1:]:
            writer.write(smaller, subfiletype=1, **options)
        for label in after:
            writer.write(label, photometric="rgb", metadata={"axes": "YXS"})
    return path


def write_dicom(path, pixels, *, series, mpp=0.5, first=True, damaged=None):
    """Write one level of a DICOM slide, a frame a tile, one of them damaged."""
    height, width, _ = pixels.shape
    frames = []
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            frame = np.full((TILE, TILE, 3), 255, np.uint8)
            part = pixels[top : top + TILE, left : left + TILE]
            frame[: part.shape[0], : part.shape[1]] = part
            frames.append(simplejpeg.encode_jpeg(frame, 95, colorsubsampling="444"))
    if damaged is not None:
        frames[damaged] = bytes(len(frames[damaged]))
    slide = Dataset()
    slide.file_meta = FileMetaDataset()
    slide.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    slide.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    slide.SOPInstanceUID = pydicom.uid.generate_uid()
    slide.StudyInstanceUID = slide.SeriesInstanceUID = series
    slide.Modality = "SM"
    slide.ImageType = (
        ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        if first
        else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    )
    slide.Rows = slide.Columns = TILE
    slide.TotalPixelMatrixRows, slide.TotalPixelMatrixColumns = height, width
    slide.NumberOfFrames, slide.SamplesPerPixel = len(frames), 3
    slide.PhotometricInterpretation, slide.PlanarConfiguration = "YBR_FULL_422", 0
    slide.BitsAllocated = slide.BitsStored = 8
    slide.HighBit, slide.PixelRepresentation = 7, 0
    slide.DimensionOrganizationType = "TILED_FULL"
    slide.TotalPixelMatrixFocalPlanes = slide.NumberOfOpticalPaths = 1
    measures, shared, optics = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000] * 2
    shared.PixelMeasuresSequence = [measures]
    slide.SharedFunctionalGroupsSequence = [shared]
    optics.OpticalPathIdentifier = "1"
    slide.OpticalPathSequence = [optics]
    slide.PixelData = encapsulate(frames)
    slide["PixelData"].VR = "OB"
    slide.save_as(path, enforce_file_format=True)
    return path


def write_dicom_slide(folder, **options):
    """Write a DICOM slide of two levels into a folder of its own."""
    folder.mkdir()
    fine, coarse = halves(biopsy(), 2)
    series = pydicom.uid.generate_uid()
    write_dicom(folder / "0.dcm", fine, series=series, **options)
    write_dicom(folder / "1.dcm", coarse, series=series, mpp=1.0, first=False)
    return folder


def cut(path, share):
    """Leave only a share of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def tile_of(path, index, level=0):
    """Return where a tile of a TIFF begins and how many bytes it has."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        return page.dataoffsets[index], page.databytecounts[index]


def overwrite(path, offset, content):
    """Write bytes into the middle of a file."""
    with path.open("rb+") as stream:
        stream.seek(offset)
        stream.write(content)


def set_tag(path, name, value, level=0):
    """Give a tag of a TIFF another value."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[level].tags[name].overwrite(value)


def move_directory_to_the_end(path):
    """Let the first directory follow the pixels, as most scanners write it."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        begin, length = page.offset, 2 + 12 * len(page.tags) + 4
    content = path.read_bytes()
    content += bytes(len(content) % 2)
    moved = content[begin : begin + length]
    path.write_bytes(content + moved)
    overwrite(path, 4, struct.pack("<I", len(content)))


def no_header(path):
    """Blank the head of a tile."""
    overwrite(path, tile_of(path, HIT)[0], bytes(200))


def flipped_stretch(path):
    """Flip bits in the middle of a tile's JPEG data."""
    offset, count = tile_of(path, HIT)
    middle = offset + count // 2
    stretch = path.read_bytes()[middle : middle + 64]
    overwrite(path, middle, bytes(byte ^ 0x5A for byte in stretch))


def no_bytes(path):
    """Say that a tile is empty."""
    counts = [tile_of(path, index)[1] for index in range(30)]
    counts[HIT] = 0
    set_tag(path, "TileByteCounts", counts)


def beyond_the_end(path):
    """Say that a tile begins where the file ends."""
    offsets = [tile_of(path, index)[0] for index in range(30)]
    offsets[HIT] = path.stat().st_size - 10
    set_tag(path, "TileOffsets", offsets)


def gigabytes(path):
    """Say that a tile is four gigabytes long."""
    counts = [tile_of(path, index)[1] for index in range(30)]
    counts[HIT] = 0xFFFF0000
    set_tag(path, "TileByteCounts", counts)


def assert_told(message, name, what="", remedy=""):
    """A sentence or two on one line: the file's name, the fault, what to do."""
    assert message.startswith(name)
    assert what in message
    assert remedy in message
    assert message.endswith(".")
    assert "\n" not in message
    assert "/" not in message


def features(slides, out, **options):
    """Return the row of each slide whose features were asked for."""
    job = extract_features(
        slides,
        out=out,
        tissue=TissueConfig(),
        patches=PatchConfig(),
        encoder=TINY,
        device="cpu",
        workers=1,
        **options,
    )
    return result_of(job)["slides"]


def tissue(slides, out):
    """Return the row of each slide whose tissue was asked for."""
    job = find_tissue(
        slides, out=out, tissue=TissueConfig(), patches=PatchConfig(), workers=1
    )
    return result_of(job)["slides"]


def bag(out, stem):
    """Return what a bag holds."""
    with h5py.File(out / f"{stem}.harm3.h5") as file:
        return {name: file[name][()] for name in ("coords", "status", "features")}


def faults(*files):
    """Return what the doctor finds wrong with each file."""
    return [row["faults"] for row in result_of(examine(files))["files"]]
