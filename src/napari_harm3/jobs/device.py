"""Which device the networks run on."""

from napari_harm3.errors import DeviceError


def resolve_device(name: str) -> str:
    """Return ``cpu`` or ``cuda:N`` for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        If the name is no device, or the machine has no such device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
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
