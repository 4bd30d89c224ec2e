"""OpenVINO's file format (IR version 10): the layers, the arrays they hold, and what feeds what. Read as data alone."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

_DTYPES = {"f32": "<f4", "f16": "<f2", "i32": "<i4", "i64": "<i8"}


class Graph:
    """The constants of a network, found by name, by shape, or by the layers that they feed."""

    def __init__(self, description: Path, data: Path):
        """Reads the `.xml` and its `.bin`; raises `ValueError` for a file that is no such network, or not whole."""
        text, content = description.read_bytes(), data.read_bytes()
        if b"<!" in text:  # entities made of entities could fill the memory; OpenVINO writes no declarations
            raise ValueError(f"{description} declares entities or a document type")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(f"{description} is not XML: {error}") from error
        layers = list(root.iterfind("layers/layer"))
        self._type = {layer.attrib["id"]: layer.attrib["type"] for layer in layers}
        self._id = {layer.attrib["name"]: layer.attrib["id"] for layer in layers}
        self._array = {
            layer.attrib["id"]: _read(layer.find("data").attrib, content)
            for layer in layers
            if layer.attrib["type"] == "Const"
        }
        edges = [(edge.attrib["from-layer"], edge.attrib["to-layer"]) for edge in root.iterfind("edges/edge")]
        self._users = {id_: [target for source, target in edges if source == id_] for id_ in self._type}
        self._inputs = {id_: [source for source, target in edges if target == id_] for id_ in self._type}

    def named(self, name: str) -> np.ndarray:
        """Returns the constant called `name`; raises `KeyError` when there is none."""
        return self._array[self._id[name]]

    def shaped(self, *shape: int) -> list[np.ndarray]:
        """Returns the constants of this shape in the order of the file, which is that of the computation."""
        return [array for array in self._array.values() if array.shape == shape]

    def following(self, name: str, *types: str) -> list[np.ndarray]:
        """Returns the constants, besides `name` itself, that enter a chain of layers.

        The first layer of the chain uses what is called `name`, each other one the result of the one before; `types`
        are theirs. Raises `ValueError` where not exactly one layer of that type follows.
        """
        found, last = [], self._id[name]
        for type_ in types:
            users = [user for user in self._users[last] if self._type[user] == type_]
            if len(users) != 1:
                raise ValueError(f"{name}: {len(users)} layers {type_} follow where there should be one")
            found += [self._array[id_] for id_ in self._inputs[users[0]] if id_ != last and id_ in self._array]
            last = users[0]
        return found


def _read(data: dict[str, str], content: bytes) -> np.ndarray:
    offset, size = int(data["offset"]), int(data["size"])
    dtype = np.dtype(_DTYPES[data["element_type"]])
    shape = tuple(int(length) for length in data["shape"].split(",") if length.strip())
    count = int(np.prod(shape, dtype=np.int64))
    if not (offset >= 0 and offset + size <= len(content) and size == count * dtype.itemsize):
        raise ValueError(f"an array of shape {shape} does not lie at {offset} of {len(content)} bytes")
    return np.frombuffer(content, dtype, count, offset).reshape(shape)
