"""Pretrained networks' parameters with random values in the true shapes, for tests that need no trained ones."""

import numpy as np

from faceflax.models import mobilenet, perceptual
from faceflax.models.face_encoder import faceres


def _layer(rng, name, *shape):
    kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
    return {f"{name}/kernel": kernel, f"{name}/bias": np.zeros(shape[-1], np.float32)}


def squeezenet():
    rng = np.random.default_rng(0)
    params = _layer(rng, "conv1", 3, 3, 3, 64)
    inputs = 64
    for number in range(2, 10):
        squeezed = 16 * (number // 2)
        params |= _layer(rng, f"fire{number}/squeeze1x1", inputs, squeezed)
        params |= _layer(rng, f"fire{number}/expand1x1", squeezed, 4 * squeezed)
        params |= _layer(rng, f"fire{number}/expand3x3", 3, 3, squeezed, 4 * squeezed)
        inputs = 8 * squeezed
    return params


def face_mobilenet():
    rng = np.random.default_rng(0)
    params = _layer(rng, "conv1", 3, 3, 3, 32)
    params["conv1/kernel"] /= 64  # pixels come in 0 to 255, and its activation ends at 6
    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    for block in range(1, 14):
        params |= _layer(rng, f"depthwise{block}", 3, 3, widths[block - 1])
        params |= _layer(rng, f"pointwise{block}", widths[block - 1], widths[block])
    return params


def mobilenet_v2():
    rng = np.random.default_rng(0)
    params = _layer(rng, "conv1", 3, 3, 3, 32)
    widths = [32, 16, 24, 24, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    for block in range(1, 18):
        inputs, outputs = widths[block - 1 : block + 1]
        hidden = inputs if block == 1 else 6 * inputs
        if block > 1:
            params |= _layer(rng, f"expand{block}", inputs, hidden)
        params |= _layer(rng, f"depthwise{block}", 3, 3, hidden)
        params |= _layer(rng, f"project{block}", hidden, outputs)
    return params | _layer(rng, "last", 320, 1280)


def install(monkeypatch):
    """Makes the networks load as these."""
    monkeypatch.setattr(perceptual, "load", squeezenet)
    monkeypatch.setattr(faceres, "load", face_mobilenet)
    monkeypatch.setattr(mobilenet, "load", mobilenet_v2)
