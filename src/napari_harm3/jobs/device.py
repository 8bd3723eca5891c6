"""Which device the networks run on."""

from napari_harm3.errors import DeviceError
from napari_harm3.jobs.parallel import worker_number


def gpu_count(device: str) -> int:
    """Return how many GPUs a device's name allows."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return 0
    return 1 if ":" in device else torch.cuda.device_count()


def resolve_device(name: str) -> str:
    """Return ``cpu`` or ``cuda:N`` for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Where the number is left open, every worker process gets the next GPU.

    Raises
    ------
    DeviceError
        If the name is no device, or the machine has no such device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return "cpu"
    if name in ("auto", "cuda") and count:
        return f"cuda:{worker_number() % count}"
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise DeviceError(f"'{name}' is no device: say auto, cpu, cuda or cuda:N.")
    index = int(number or 0)
    if index >= count:
        raise DeviceError(
            f"This machine has {count} CUDA devices and no '{name}': "
            "say --device cpu or auto."
        )
    return f"cuda:{index}"
