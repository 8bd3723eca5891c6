"""The errors a user can act on; a bug keeps its own type and its traceback.

Each message is one sentence or two: what is wrong, where, and what to do.

* `Harm3Error`
    * `CohortError`: the cohort table, or a case asked for.
    * `VolumeError`: an MRI volume or a voxel annotation.
    * `SlideError`: a whole-slide image.
    * `FeatureError`: patch features, or features that do not suit a model.
    * `ModelError`: a run folder, a model folder or a checkpoint.
    * `TrainingError`: a cohort that cannot be trained on, or a run that failed.
    * `ConfigError`: a configuration file or value.
    * `DeviceError`: a device that is not there.
    * `Stopped`: a job that the user stopped.
"""

import errno
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "free some space",
    errno.EROFS: "choose another folder",
    errno.EACCES: "change its rights, or choose another folder",
    errno.EPERM: "change its rights, or choose another folder",
    errno.ENOENT: "check that it is there",
    errno.ENOTDIR: "give a folder, not a file",
    errno.EISDIR: "give a file, not a folder",
    errno.EEXIST: "choose another folder",
    errno.ENAMETOOLONG: "give it a shorter name",
}
"""What to do about an error of the operating system."""


class Harm3Error(Exception):
    """The user can put this right; the faces show the text as it stands."""


class CohortError(Harm3Error):
    """The cohort table, or a case asked for, is not right."""


class VolumeError(Harm3Error):
    """A volume or an annotation cannot be read, or must not be trusted."""


class SlideError(Harm3Error):
    """A slide cannot be opened, or lacks what is needed."""


class FeatureError(Harm3Error):
    """Patch features are damaged, or are not the ones that a model learned from."""


class ModelError(Harm3Error):
    """A run, a model folder or a checkpoint cannot be used."""


class TrainingError(Harm3Error):
    """A model cannot be trained, or measured, on these cases."""


class ConfigError(Harm3Error):
    """A configuration says something that is not possible."""


class DeviceError(Harm3Error):
    """The device asked for is not on this machine."""


class Stopped(Harm3Error):  # noqa: N818 - nothing went wrong
    """The user stopped a job; what it finished is kept."""


def sentence(error: Exception, name: str = "A file") -> str:
    """Return what a screen or a log says of an error.

    What the operating system says holds absolute paths, which never leave a machine.

    Parameters
    ----------
    error
        One that the user can put right.
    name
        Whose work it was, where the error names no file.

    Examples
    --------
    >>> sentence(OSError(errno.ENOSPC, "No space left on device", "/data/a.nii.gz"))
    'a.nii.gz: No space left on device: free some space.'
    """
    if not isinstance(error, OSError):
        return str(error)
    where = Path(error.filename).name if isinstance(error.filename, str) else name
    remedy = REMEDIES.get(error.errno or 0, "check the disk")
    return f"{where}: {error.strerror or error}: {remedy}."
