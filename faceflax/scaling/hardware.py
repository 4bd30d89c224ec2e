"""Accelerators as their makers describe them: what predictions stand on until somebody has measured."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One device and how it is joined with others.

    Attributes:
      name: as people call it.
      kinds: what JAX calls it (`Device.device_kind`), in small letters.
      peak_flops: dense bfloat16 operations a second.
      memory_bandwidth: bytes a second.
      memory: bytes.
      island: devices that are joined by the fast links.
      fast_link: bytes a second that a device sends within its island, all its links together.
      slow_link: the same between islands.
      latency: seconds of one message.
      pods: device counts to predict, by the pod's name.
    """

    name: str
    kinds: tuple[str, ...]
    peak_flops: float
    memory_bandwidth: float
    memory: float
    island: int
    fast_link: float
    slow_link: float
    latency: float
    pods: dict[str, int]


_H100_PODS = {f"H100 x {count}": count for count in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
# A v5p-8 has 8 TensorCores, which are 4 devices.
_V5P_PODS = {f"v5p-{2 * count}": count for count in (4, 8, 16, 32, 64, 128, 256, 512)}

ACCELERATORS = (
    # cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 2,765 GB/s, 95 GB, 4,800 Gbit/s to and fro between chips.
    Accelerator("TPU v5p", ("tpu v5", "tpu v5p"), 459e12, 2.765e12, 95e9, 8960, 300e9, 25e9, 2e-6, _V5P_PODS),
    # NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s dense, 3.35 TB/s, 80 GB, NVLink 900 GB/s to and fro; between
    # nodes of 8 one 400 Gbit/s adapter a device, as in DGX H100.
    Accelerator("H100 SXM", ("nvidia h100 80gb hbm3",), 989e12, 3.35e12, 80e9, 8, 450e9, 50e9, 10e-6, _H100_PODS),
)
"""Those that predictions are made for."""


def peak_flops(device_kind: str) -> float | None:
    """Operations a second of a device by JAX's name of it; None for a kind that is not listed."""
    found = [each.peak_flops for each in ACCELERATORS if device_kind.lower() in each.kinds]
    return found[0] if found else None
