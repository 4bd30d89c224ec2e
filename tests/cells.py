"""Cells of the scaling study as if they had been measured."""

from faceflax.scaling.cells import Cell, Place
from faceflax.scaling.traffic import Traffic


def make_cell(devices, *, mode="weak", layout="data", kind="tpu v5p", batch=None, **fields):
    """A cell of so many devices: 4 images a device, or of "strong" scaling 32 in all; `fields` replace its numbers."""
    batch = batch or (4 * devices if mode == "weak" else 32)
    sent = 8_000_000.0 if devices > 1 else 0.0
    values = {
        "dtype": "bfloat16",
        "seconds": (0.1, 0.1),
        "flops": 2e12 * batch,
        "model_flops": 1.5e12 * batch,
        "moved_bytes": 5e9,
        "peak_bytes": 9e9,
        "accelerator_bytes": 1e9,
        "traffic": {"all-reduce": Traffic(devices.bit_length() - 1, sent)} if sent else {},
        "parameter_bytes": 4_000_000,
        "commit": "abc",
    }
    return Cell(Place(mode, layout, devices, batch), kind, **values | fields)
