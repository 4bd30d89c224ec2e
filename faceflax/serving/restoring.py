"""One photograph through the restorer that a visitor chose."""

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.models import shipped
from faceflax.preprocessing import images
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import aligned, photographs, restorers
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Locate

BATCH_SIZE = 4
_MOST_LOADED = 4
_IS_FACE = 'tick "one face that fills the picture"'


class Models:
    """The restorers that the page offers, by the names that it shows.

    Attributes:
      names: of all, the default one first.
      blendable: of the GANs whose CNN is there, so that a fidelity may be chosen.
    """

    def __init__(self, given: Sequence[str]):
        """Finds the models that come with faceflax, and those `given` by path, which come first and are read once.

        Raises `UserError` when there is none, one cannot be read, or two have the same name.
        """
        self._places = {}
        for place in [*given, *shipped.names()]:
            name = place if place in shipped.names() else Path(place).resolve().name
            if name in self._places and place not in shipped.names():
                raise UserError(f'two models are called "{name}"; rename the folder or file of one')
            self._places.setdefault(name, place)
        if not self._places:
            raise UserError("no model comes with this version of faceflax; pass --model the workdir of one you trained")
        self.names = tuple(self._places)
        self._load = functools.lru_cache(_MOST_LOADED)(self._read)
        self.blendable = tuple(name for name in self.names if self._is_blendable(name))

    def load(self, name: str, fidelity: float) -> Restorer:
        """Returns one of `names`; with a `fidelity` over 0, and if it is `blendable`, nearer to its CNN."""
        if name not in self._places:
            raise UserError(f'There is no model "{name}"; choose one of {", ".join(self.names)}.')
        return self._load(name, fidelity if fidelity and name in self.blendable else None)

    def _read(self, name: str, fidelity: float | None) -> Restorer:
        return restorers.load(self._places[name], fidelity, BATCH_SIZE)

    def _is_blendable(self, name: str) -> bool:
        place = self._places[name]
        if place in shipped.names():  # left unread: none is shipped without its CNN
            config = shipped.manifest(place)["config"]
            return config["arm"] == "gan" and config["init_from"] in shipped.names()
        known = self._load(name, None).description
        if Path(place).is_file() or known["arm"] != "gan" or not known["config"]["init_from"]:
            return False
        try:
            restorers.load(place, 0.5, BATCH_SIZE)
        except UserError as error:
            print(f"the page offers no fidelity for {name}: {error}", file=sys.stderr)
            return False
        return True


def restore(
    source: Path, output: Path, missing: np.ndarray | None, restorer: Restorer, locate: Locate | None
) -> tuple[Photograph, str]:
    """Restores the photograph in the file `source` into the PNG file `output`.

    Returns it, and a sentence for the page on what could not be restored of it, empty where all was.

    Args:
      source: a file that `limits.check_file` let through.
      output: in a folder for this request alone, as a mask and a report lie beside it.
      missing: bool [H, W], the holes to be filled, or None to restore faces whole.
      restorer: loaded for batches of `BATCH_SIZE`.
      locate: finds faces; None: the picture is one face.

    Raises:
      UserError: one sentence for the page, without a path.
    """
    mask = None
    if missing is not None:
        mask = output.with_name("mask.png")
        images.write(mask, Photograph(missing.astype(np.uint8) * 255, None))
    failures: list[str] = []
    job = Job(source, output, mask)
    known = {"batch_size": BATCH_SIZE, "on_failure": failures.append, "advance": lambda: None}
    if locate is None:
        written = aligned.restore_files([job], restorer.restore, size=restorer.size, **known)
    else:
        written, _ = photographs.restore_files([job], restorer, locate, options=Options(), **known)
    told = sentence(failures[0], source) if failures else ""
    if not written:
        raise UserError(told)
    return images.read(output), told


def sentence(failure: str, source: Path) -> str:
    """Returns what a command would say of the file `source` as the page says it: no path, no option."""
    text = failure.removeprefix(f"{source}: ").replace("pass --aligned", _IS_FACE)
    text = re.sub(r" at /[^;]*(?=;)", "", text)  # where the system failed, as `console.told_of` says it
    return f"{text[:1].upper()}{text[1:]}."


def holes(layers: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray | None:
    """Returns what was painted as bool `shape` (H, W), or None where nothing was.

    `layers`: uint8 RGBA [h, w, 4] each, of any size, as a browser scales what it shows.
    """
    missing = np.zeros(shape, bool)
    for layer in layers:
        height, width = layer.shape[:2]
        rows, columns = np.arange(shape[0]) * height // shape[0], np.arange(shape[1]) * width // shape[1]
        missing |= layer[rows[:, None], columns, 3] > 0
    return missing if missing.any() else None
