"""The benchmark's cells in their files, and the set that they are measured on."""

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.cells import Cell

SIZE, COUNT = 32, 6
NOISE, HOLE = Task("noise", 50), Task("occlude", 20)  # the second is in the curve alone


def test_a_cell_is_read_as_it_was_written(tmp_path):
    cell = Cell(
        made_from={"task": "noise 50", "step": 7},
        measured_by={"commit": "c0ffee"},
        index=np.arange(3),
        scores={"psnr": np.array([1.0, np.nan, 3.0])},
        descriptors={"kid": np.ones((3, 5), np.float16)},
        of_set={"kid": 0.25},
        failed=np.array([False, True, False]),
        pictures=np.zeros((1, 4, 4, 3), np.uint8),
    )
    file = cells.path(tmp_path, "gan-0", NOISE)
    cells.write(file, cell)
    assert [each.name for each in file.parent.iterdir()] == ["noise_50.npz"]
    found = cells.read(file)
    assert list(found.descriptors) == ["kid"] and "identity" not in found.descriptors
    np.testing.assert_equal(vars(found) | {"descriptors": dict(found.descriptors)}, vars(cell))
    assert cells.is_fresh(file, cell.made_from)
    assert not cells.is_fresh(file, cell.made_from | {"step": 8})
    assert not cells.is_fresh(tmp_path / "none.npz", cell.made_from)


def test_the_fixed_set_is_known_by_its_pixels():
    pixels = {"degraded": np.zeros((2, 4, 4, 3), np.uint8), "mask": np.zeros((2, 4, 4, 1), np.uint8)}
    other = {name: values.copy() for name, values in pixels.items()}
    assert cells.fingerprint([pixels]) == cells.fingerprint([other])
    other["mask"][1, 2, 3] = 1
    assert cells.fingerprint([pixels]) != cells.fingerprint([other])
