"""What volumes are called: their content, not their name, says what they are."""

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""The first that fits a name counts: it is the longest."""

DETACHED = (".nhdr", ".mhd")
"""Headers whose voxels lie in another file."""
