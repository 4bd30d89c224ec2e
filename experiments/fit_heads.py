"""Fits the short ways of the face prior to small faces: python -m experiments.fit_heads --out=heads.safetensors.

Makes faces with the whole network, shrinks them by the mean of blocks to 64, 128 and 256 pixels, and moves the heads
(`faceflax.models.face_prior.heads`) from where the whole network puts them to the least squared error. Half of the
faces have one style, half the coarse styles of one face and the fine ones of another. Prints PSNR before and after on
faces that it was not fitted to. Heads that --sizes leaves out stay where the whole network puts them.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import program

_OUT = flags.DEFINE_string("out", None, "The file to write.")
_SIZES = flags.DEFINE_multi_integer("sizes", [64, 128], "Pixels of a head to fit; give it several times for several.")
_FACES = flags.DEFINE_integer("faces", 100, "Faces to fit to; half a second of two cores each.", lower_bound=1)
_HELD_OUT = flags.DEFINE_integer("held_out", 16, "Faces to measure on.", lower_bound=1)
_PASSES = flags.DEFINE_integer("passes", 5, "Times that every face is used.", lower_bound=1)
_PAIRS = flags.DEFINE_string("pairs", "", "A folder that keeps the faces made, to go on with.")
flags.mark_flag_as_required("out")

_LEARNING_RATE = 5e-4


def main() -> int:
    """Fits by the flags; returns the process's exit status."""
    from faceflax.models import weights
    from faceflax.models.face_prior import conversion, heads
    from faceflax.training import parallel, runtime, workdir

    runtime.start()
    devices = parallel.one_device()
    params = conversion.load()
    params |= heads.noise(params)
    train = _make_pairs(params, devices, seed=1, count=_FACES.value)
    test = _make_pairs(params, devices, seed=2, count=_HELD_OUT.value)
    fitted, measured = {}, {}
    for size in heads.SIZES:
        start = heads.initial(params, size)
        head = _fit(params, start, train, size) if size in _SIZES.value else start
        before, after = (_psnr(params | each, test, size, devices) for each in (start, head))
        print(f"{size} pixels: {before:.1f} dB before, {after:.1f} dB after", flush=True)
        fitted |= head
        measured[f"psnr_{size}"] = round(after, 2)
    manifest = {
        "kind": "heads of the face prior",
        "config": {
            "sizes": _SIZES.value,
            "faces": _FACES.value,
            "passes": _PASSES.value,
            "learning_rate": _LEARNING_RATE,
        },
        "dataset": {"name": "faces of MobileStyleGAN, seed 1", "split": "all", "fingerprint": ""},
        "step": _FACES.value * _PASSES.value,
        "metrics": measured,
        "commit": workdir.provenance()["commit"],
        "licence": "Apache-2.0; fitted to weights distilled from a generator trained on FFHQ (CC BY-NC-SA 4.0)",
    }
    weights.write(Path(_OUT.value), _nested(fitted), manifest)
    print(_OUT.value)
    return 0


def _nested(named):
    from flax import traverse_util

    return traverse_util.unflatten_dict(named, sep="/")


def _make_pairs(params, devices, seed: int, count: int) -> dict[str, np.ndarray]:
    """Styles [N, 23, 512] and the whole network's faces at 256 pixels, float16 [N, 256, 256, 3] in [-1, 1]."""
    from faceflax.models.face_prior import synthesis

    path = Path(_PAIRS.value, f"pairs{seed}.npz") if _PAIRS.value else None
    if path and path.exists():
        with np.load(path) as pairs:
            return {name: pairs[name][:count] for name in pairs}
    make = devices.compile_batched(lambda params, styles: _halved(synthesis.synthesise(params, styles, 512)))
    on_device = devices.replicate(params)
    styles = np.stack([_styles(params, seed, number) for number in range(count)])
    images = np.concatenate([np.asarray(make(on_device, style[None]), np.float16) for style in styles])
    if path:
        np.savez(path, images=images, styles=styles)
    return {"images": images, "styles": styles}


def _styles(params, seed: int, number: int) -> np.ndarray:
    from faceflax.models.face_prior import network

    rng = np.random.default_rng([seed, number])
    z = rng.standard_normal((2, network.DIMENSION)).astype(np.float32)
    psi = rng.uniform(0.5, 1.0, (2, 1)).astype(np.float32)
    style = network.truncate(params, network.map_to_style(params, z), psi)
    cut = rng.integers(1, network.NUM_STYLES) if number % 2 else network.NUM_STYLES
    return np.where((np.arange(network.NUM_STYLES) < cut)[:, None], style[0], style[1])


def _halved(images, factor: int = 2):
    count, size = images.shape[0], images.shape[1] // factor
    return images.reshape(count, size, factor, size, factor, 3).mean((2, 4))


def _fit(params, head, pairs, size: int):
    """Returns the head after Adam on the squared error, one face a step, in an order of its own each pass."""
    import jax
    import jax.numpy as jnp
    import optax

    from faceflax.models import convolutions
    from faceflax.models.face_prior import heads, synthesis

    options = convolutions.CPU_COMPILER_OPTIONS if jax.default_backend() == "cpu" else None
    params, head = jax.device_put((params, head))
    read = jax.jit(
        lambda styles: synthesis.features(params, styles, heads.level_of(size)).astype(jnp.float16),
        compiler_options=options,
    )
    features = [np.asarray(read(styles[None])) for styles in pairs["styles"]]
    images = _halved(pairs["images"].astype(np.float32), 256 // size)
    steps = len(images) * _PASSES.value
    adam = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps))

    def step(head, moments, features, styles, image):
        def loss(head):
            made = heads.apply(params | head, features.astype(jnp.float32), styles, size)
            return jnp.mean(jnp.square(made - image))

        updates, moments = adam.update(jax.grad(loss)(head), moments)
        return optax.apply_updates(head, updates), moments

    step = jax.jit(step, donate_argnums=(0, 1), compiler_options=options)
    moments, rng = adam.init(head), np.random.default_rng(0)
    for number in np.concatenate([rng.permutation(len(images)) for _ in range(_PASSES.value)]):
        head, moments = step(head, moments, features[number], pairs["styles"][number][None], images[number][None])
    return {name: np.asarray(value) for name, value in head.items()}


def _psnr(params, pairs, size: int, devices) -> float:
    """Mean PSNR over faces, of the range [-1, 1]."""
    from faceflax.models.face_prior import synthesis

    make = devices.compile_batched(lambda params, styles: synthesis.synthesise(params, styles, size))
    on_device = devices.replicate(params)
    made = np.concatenate([np.asarray(make(on_device, styles[None])) for styles in pairs["styles"]])
    errors = np.square(made - _halved(pairs["images"].astype(np.float32), 256 // size)).mean((1, 2, 3))
    return float(np.mean(10 * np.log10(4 / errors)))


if __name__ == "__main__":
    program.run(main)
