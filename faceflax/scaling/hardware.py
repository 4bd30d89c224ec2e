"""Accelerators as their makers describe them: what predictions stand on until somebody has measured."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device.

    Attributes:
      name: as people call it.
      kinds: what JAX calls it (`Device.device_kind`), in small letters.
      bfloat16: dense operations a second.
      float32: the same as JAX computes float32 unless it is told otherwise: in TF32 on a GPU, in one pass of bfloat16
        on a TPU.
    """

    name: str
    kinds: tuple[str, ...]
    bfloat16: float
    float32: float

    def peak(self, dtype: str) -> float:
        """Operations a second of networks whose activations are `dtype`, "bfloat16" or "float32"."""
        return self.bfloat16 if dtype == "bfloat16" else self.float32


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A chip in a pod that steps are predicted for.

    Attributes:
      chip: the device.
      memory_bandwidth: bytes a second.
      memory: bytes.
      island: devices that are joined by the fast links.
      fast_link: bytes a second that a device sends within its island, all its links together.
      slow_link: the same between islands.
      latency: seconds of one message.
      pods: device counts to predict, by the pod's name.
    """

    chip: Chip
    memory_bandwidth: float
    memory: float
    island: int
    fast_link: float
    slow_link: float
    latency: float
    pods: dict[str, int]


# cloud.google.com/tpu/docs, the pages v4, v5e, v5p and v6e: peak compute per chip in bf16.
_V5P = Chip("TPU v5p", ("tpu v5", "tpu v5p"), 459e12, 459e12)
# NVIDIA's data sheets (nvidia.com/en-us/data-center, h100, h200 and a100: SXM), without sparsity.
_H100 = Chip("H100 SXM", ("nvidia h100 80gb hbm3",), 989e12, 494e12)

CHIPS = (
    Chip("TPU v4", ("tpu v4",), 275e12, 275e12),
    Chip("TPU v5e", ("tpu v5 lite", "tpu v5e"), 197e12, 197e12),
    _V5P,
    Chip("TPU v6e", ("tpu v6 lite", "tpu v6e"), 918e12, 918e12),
    Chip("A100", ("nvidia a100-sxm4-40gb", "nvidia a100-sxm4-80gb"), 312e12, 156e12),
    _H100,
    Chip("H200 SXM", ("nvidia h200",), 989e12, 494e12),
)
"""Those whose peak is known."""

_H100_PODS = {f"H100 x {count}": count for count in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
# A v5p-8 has 8 TensorCores, which are 4 devices.
_V5P_PODS = {f"v5p-{2 * count}": count for count in (4, 8, 16, 32, 64, 128, 256, 512)}

ACCELERATORS = (
    # cloud.google.com/tpu/docs/v5p: 2,765 GB/s, 95 GB, 4,800 Gbit/s to and fro between chips.
    Accelerator(_V5P, 2.765e12, 95e9, 8960, 300e9, 25e9, 2e-6, _V5P_PODS),
    # The H100's data sheet: 3.35 TB/s, 80 GB, NVLink 900 GB/s to and fro; between nodes of 8 one 400 Gbit/s adapter a
    # device, as in DGX H100.
    Accelerator(_H100, 3.35e12, 80e9, 8, 450e9, 50e9, 10e-6, _H100_PODS),
)
"""Those that predictions are made for."""


def peak(device_kind: str, dtype: str) -> float | None:
    """Operations a second of a device by JAX's name of it (see `Chip.peak`); None for a kind that is not listed."""
    found = [chip.peak(dtype) for chip in CHIPS if device_kind.lower() in chip.kinds]
    return found[0] if found else None
