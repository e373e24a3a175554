"""What an error on the device means: for one request, or for the process. Knows nothing of batches."""

import sys
import traceback
from pathlib import Path

from model_core.runner import DeviceFault, InvalidInput


def is_device_fault(error: BaseException) -> bool:
    """Whether the process must go. Running out of memory is not one: the members are tried again one by one."""
    torch = sys.modules.get("torch")
    return isinstance(error, DeviceFault) or (torch is not None and isinstance(error, torch.AcceleratorError))


def describe(error: Exception) -> str:
    """What a `Failure` says: the message of `InvalidInput`, which is free of personal data; else only the place."""
    if isinstance(error, InvalidInput):
        return f"InvalidInput: {error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
