"""The face prior against its published network: python -m experiments.compare_openvino [--faces=16] [--rounds=5].

Needs OpenVINO (`pip install 'faceflax[synth]'`). Prints how far our faces of 1024 pixels lie from OpenVINO's on the
same random vectors, the PSNR of our smaller faces against those shrunk, by means of blocks and by Lanczos, and how many
faces a second each way makes: one face at a time, in turns, medians, whatever else the machine does.
"""

import statistics
import time

import numpy as np
from absl import flags

from experiments import program

_FACES = flags.DEFINE_integer("faces", 16, "Random vectors compared.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Faces timed of each way.", lower_bound=1)


def main() -> int:
    """Compares by the flags; returns the process's exit status."""
    import jax.numpy as jnp

    from faceflax.models import face_prior
    from faceflax.models.face_prior import network, synthesis
    from faceflax.training import parallel, runtime

    runtime.start()
    theirs_map, theirs_make = _openvino()
    devices = parallel.one_device()
    params = devices.replicate(face_prior.load())
    make = {
        size: devices.compile_batched(lambda p, styles, size=size: synthesis.synthesise(p, styles, size))
        for size in synthesis.SIZES
    }
    z = np.random.default_rng(0).standard_normal((_FACES.value, network.DIMENSION)).astype(np.float32)
    psi = np.random.default_rng(1).uniform(0.5, 1.0, (_FACES.value, 1)).astype(np.float32)
    distance = np.abs(np.asarray(network.map_to_style(params, jnp.asarray(z))) - theirs_map(z)).max()
    print(f"styles: at most {distance:.1e} apart")
    styles = np.asarray(network.truncate(params, jnp.asarray(theirs_map(z)), psi))
    _compare(params, make, theirs_make, styles)
    ways = {f"ours {size}": lambda style, size=size: make[size](params, style).block_until_ready() for size in make}
    ways["openvino 1024"] = theirs_make
    _race(ways, styles[:1])
    return 0


def _openvino():
    """Returns OpenVINO's mapping and synthesis, on float32 [B, 512]; images come as [1, 1024, 1024, 3]."""
    from faceflax import assets
    from faceflax.errors import UserError

    try:
        import openvino
    except ImportError as error:
        raise UserError("this comparison needs OpenVINO: pip install 'faceflax[synth]'") from error
    for asset in assets.FACE_PRIOR:
        assets.fetch(asset)
    core = openvino.Core()
    mapping = core.read_model(assets.MAPPING_XML.path)
    mapping.reshape({"var": [-1, 512]})
    # Some CPUs default to bfloat16.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    mapping = core.compile_model(mapping, "CPU", options)
    synthesis = core.compile_model(core.read_model(assets.SYNTHESIS_XML.path), "CPU", options)
    return (lambda z: mapping(z)[0]), (lambda style: synthesis(style)[0].transpose(0, 2, 3, 1))


def _compare(params, make, theirs_make, styles) -> None:
    from faceflax.models.face_prior import synthesis

    differences, decibels = [], {size: {"blocks": [], "Lanczos": []} for size in synthesis.SIZES[:-1]}
    for style in styles[:, None]:
        expected = theirs_make(style)[0]
        differences.append(np.abs(np.asarray(make[synthesis.SIDE](params, style))[0] - expected))
        for size, found in decibels.items():
            made = np.asarray(make[size](params, style))[0]
            factor = synthesis.SIDE // size
            blocks = expected.reshape(size, factor, size, factor, 3).mean((1, 3))
            found["blocks"].append(_psnr(made, blocks))
            found["Lanczos"].append(_psnr(made, _lanczos(expected, size)))
    mean, most = np.mean(differences), np.max(differences)
    print(f"1024 pixels: mean absolute difference {mean:.1e}, largest {most:.1e} on [-1, 1], {len(styles)} faces")
    for size, found in decibels.items():
        by = ", ".join(f"{name} {np.mean(v):.1f} dB (least {np.min(v):.1f})" for name, v in found.items())
        print(f"{size} pixels against shrunk by {by}")


def _psnr(a, b) -> float:
    """Of the range [-1, 1]."""
    return float(10 * np.log10(4 / max(np.square(a - b).mean(), 1e-12)))


def _lanczos(image, size: int):
    from PIL import Image

    planes = [
        Image.fromarray(plane).resize((size, size), Image.Resampling.LANCZOS) for plane in image.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _race(ways, style) -> None:
    seconds = {name: [] for name in ways}
    for number in range(_ROUNDS.value + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(style)
            if number:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    reference = statistics.median(seconds["openvino 1024"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name}: {1000 * median:.0f} ms, {1 / median:.1f} faces/s, {reference / median:.2f} of OpenVINO's 1024")


if __name__ == "__main__":
    program.run(main)
