"""Pretrained networks' parameters with random values in the true shapes, for tests that need no trained ones."""

import numpy as np

from faceflax.models import face_prior as prior
from faceflax.models import mobilenet, perceptual
from faceflax.models.face_encoder import faceres
from faceflax.models.face_prior import heads, network


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


def face_prior(channels=8):
    """The face prior with the same number of channels at every level, and its heads unfitted."""
    rng = np.random.default_rng(0)

    def modulated(name, inputs, outputs=0, side=0):
        found = {f"{name}/style/kernel": rng.normal(0, 0.03, (512, inputs)), f"{name}/style/bias": np.ones(inputs)}
        if outputs:
            found[f"{name}/kernel"] = rng.normal(0, np.sqrt(3 / inputs), (inputs, outputs))
            found[f"{name}/bias"] = rng.normal(0, 0.1, outputs)
        if side:
            found[f"{name}/noise"] = rng.normal(0, 0.1, (side, side, 1))
        return found

    params = {"input": rng.normal(size=(4, 4, channels)), "mean": np.zeros(512)} | modulated("first", channels)
    params |= _layer(rng, "first", 3, 3, channels, channels) | {"first/noise": np.zeros((4, 4, 1))}
    for number in range(8):
        params |= _layer(rng, f"map{number}", 512, 512)
        params[f"map{number}/kernel"] /= np.sqrt(2)  # whose activations are enlarged by as much
    for level in range(network.LEVELS):
        name, side = f"level{level}", 8 * 2**level
        params |= modulated(f"{name}/up", channels)
        params |= modulated(f"{name}/conv1", channels // 4, channels, side)
        params |= modulated(f"{name}/conv2", channels, channels, side)
        for layer, inputs in (("conv1", channels // 4), ("conv2", channels)):
            params[f"{name}/{layer}/depthwise"] = rng.normal(0, 0.4, (3, 3, inputs))
    params |= modulated("image", channels, 12)
    params["image/kernel"] *= 0.5
    params = {name: values.astype(np.float32) for name, values in params.items()}
    params |= heads.noise(params)
    for size in heads.SIZES:
        params |= heads.initial(params, size)
    return params


def install(monkeypatch):
    """Makes the networks load as these."""
    monkeypatch.setattr(prior, "load", face_prior)
    monkeypatch.setattr(perceptual, "load", squeezenet)
    monkeypatch.setattr(faceres, "load", face_mobilenet)
    monkeypatch.setattr(mobilenet, "load", mobilenet_v2)
