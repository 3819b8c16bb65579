"""What both PyTorch peers need beside their models: reading and writing tensors, which BLAS runs, peak memory."""
import ctypes
import json
import os
import struct

import numpy as np
import torch

TYPES = {"F32": np.float32, "I64": np.int64, "I32": np.int32}
CODES = {np.dtype(dtype): code for code, dtype in TYPES.items()}


def read_safetensors(path, wanted=lambda name: True):
    """Tensors by name, each read straight into its own memory; those not wanted are skipped."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            if not wanted(name):
                continue
            array = np.empty(entry["shape"], TYPES[entry["dtype"]])
            file.seek(8 + length + entry["data_offsets"][0])
            if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:
                raise ValueError(f"{path}: {name} is cut short")
            tensors[name] = torch.from_numpy(array)
        return tensors


def write_safetensors(path, tensors):
    arrays = {name: np.ascontiguousarray(t.numpy()) for name, t in tensors.items()}
    header, at = {}, 0
    for name, array in arrays.items():
        end = at + array.nbytes
        header[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())


def blas_file():
    """The library that serves PyTorch's matrix products, as the process has it mapped."""
    torch.mm(torch.ones(8, 8), torch.ones(8, 8))
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if "/" in line}
    return next((f for f in sorted(files) if "libblas.so" in os.path.basename(f)), "unknown")


def openblas():
    """Version and kernel of the BLAS in use, as it tells itself."""
    for file in (blas_file(), "libopenblas.so.0"):
        try:
            config = ctypes.CDLL(file).openblas_get_config
            config.restype = ctypes.c_char_p
            return config().decode().strip()
        except (OSError, AttributeError):
            continue
    return "unknown"


def peak():
    """Largest resident memory so far, in bytes, as Linux counts it."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
