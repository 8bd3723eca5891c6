"""Makers of DICOM files: small series with everything that can go wrong in one."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"

PATIENT = "Doe^Jane"
"""A name that no message may hold."""

SPACING = (0.8, 0.6, 3.0)
"""Along columns, rows and slices, in mm."""

SHAPE = (7, 5, 6)
"""Columns, rows, slices."""


def directions(tilt=(0, 0, 0)):
    """Return LPS unit vectors of columns, rows and slices, one a row."""
    return Rotation.from_euler("xyz", tilt, degrees=True).as_matrix().T


def voxels(shape=SHAPE):
    """Return voxels that all differ, along columns, rows, slices."""
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def lps_affine(tilt=(0, 0, 0), origin=(-11.0, 23.0, -40.0), spacing=SPACING):
    affine = np.eye(4)
    affine[:3, :3] = directions(tilt).T * spacing
    affine[:3, 3] = origin
    return affine


def new_file(kind, **attributes):
    """Return a dataset ready to be saved, of an invented patient."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = PATIENT, "MRN-0815"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "F"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.StudyDate, dataset.StudyTime = "20240305", "101500"
    dataset.StudyID, dataset.AccessionNumber = "1", ""
    dataset.Modality, dataset.SeriesInstanceUID = "MR", "1.2.3.4"
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.Manufacturer = "made"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def set_pixels(dataset, plane):
    """Give a dataset one plane, rows by columns, or several."""
    dataset.Rows, dataset.Columns = plane.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.ascontiguousarray(plane, "<u2").tobytes()


def classic_slices(array=None, *, affine=None, **attributes):
    """Return one dataset a slice of an array (columns, rows, slices)."""
    array = voxels() if array is None else array
    affine = lps_affine() if affine is None else affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = (affine[:3, :3] / spacing).T
    slices = []
    for index in range(array.shape[2]):
        dataset = new_file(
            MR,
            ImageType=["ORIGINAL", "PRIMARY", "M"],
            SeriesNumber=3,
            InstanceNumber=index + 1,
            PixelSpacing=[round(spacing[1], 6), round(spacing[0], 6)],
            SliceThickness=round(spacing[2], 6),
            ImageOrientationPatient=[f"{c:.10f}" for c in cosines[:2].ravel()],
            ImagePositionPatient=[
                f"{c:.8f}" for c in affine[:3, 3] + index * affine[:3, 2]
            ],
            **attributes,
        )
        set_pixels(dataset, array[:, :, index].T)
        slices.append(dataset)
    return slices


def save_series(folder, slices, name="im{:03d}.dcm"):
    """Write slices in a shuffled order of names: files come in any."""
    order = np.random.default_rng(1).permutation(len(slices))
    for number, index in enumerate(order, start=1):
        save(slices[index], folder / name.format(number))
    return folder


def enhanced(array=None, *, affine=None, parts=None):
    """Return an enhanced multi-frame MR image, its frames in reverse order.

    ``parts`` gives one or more frame attributes, each with one value a part of the
    file: ``{"MREchoSequence.EffectiveEchoTime": (12.0, 90.0)}``. The voxels of a part
    are 500 higher than those of the one before.
    """
    parts = parts or {"MREchoSequence.EffectiveEchoTime": (12.0,)}
    array = voxels() if array is None else array
    affine = lps_affine() if affine is None else affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = (affine[:3, :3] / spacing).T
    dataset = new_file(
        ENHANCED_MR,
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        SeriesNumber=4,
        InstanceNumber=1,
        ContentDate="20240305",
        ContentTime="101500",
        MagneticFieldStrength=3.0,
    )
    shared, frames, planes = Dataset(), [], []
    measures, orientation, timing = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    measures.SliceThickness = float(spacing[2])
    orientation.ImageOrientationPatient = [f"{c:.10f}" for c in cosines[:2].ravel()]
    timing.RepetitionTime = 550.0
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    shared.MRTimingAndRelatedParametersSequence = [timing]
    for part, values in enumerate(zip(*parts.values(), strict=True)):
        for index in range(array.shape[2])[::-1]:
            frame, position, content = Dataset(), Dataset(), Dataset()
            place = affine[:3, 3] + index * affine[:3, 2]
            position.ImagePositionPatient = [f"{c:.8f}" for c in place]
            content.DimensionIndexValues = [index + 1]
            frame.PlanePositionSequence = [position]
            frame.FrameContentSequence = [content]
            for name, value in zip(parts, values, strict=True):
                sequence, keyword = name.split(".")
                if sequence not in frame:
                    setattr(frame, sequence, [Dataset()])
                setattr(frame[sequence][0], keyword, value)
            frames.append(frame)
            planes.append(array[:, :, index].T + 500 * part)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames = len(frames)
    set_pixels(dataset, np.stack(planes))
    return dataset


def structure_set(structures, *, frame="1.2.3.9"):
    """Return an RTSTRUCT; structures are names and their contours in LPS mm."""
    dataset = new_file(RTSTRUCT, Modality="RTSTRUCT", FrameOfReferenceUID=frame)
    dataset.StructureSetLabel = "made"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(structures, start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{c:.6f}" for c in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    return dataset
