"""The scaling study: what is counted, fitted and predicted; the program itself in a slow test."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.scaling import cells, hardware, laws, measuring, prediction, report, settings, sizes, traffic
from faceflax.scaling.cells import Cell, Place
from faceflax.scaling.laws import Point
from faceflax.scaling.traffic import Traffic
from tests import tiny


def make_cell(devices, *, mode="weak", layout="data", kind="tpu v5p", batch=None, **fields):
    batch = batch or (4 * devices if mode == "weak" else 32)
    sent = 8_000_000 if devices > 1 else 0
    values = {
        "seconds": (0.1, 0.1),
        "flops": 2e12 * batch,
        "moved_bytes": 5e9,
        "peak_bytes": 1e9,
        "traffic": {"all-reduce": Traffic(devices.bit_length() - 1, sent)} if sent else {},
        "parameter_bytes": 4_000_000,
    }
    return Cell(Place(mode, layout, devices, batch), kind, **values | fields)


def with_seconds(cell, seconds):
    return dataclasses.replace(cell, seconds=(seconds,) * 3)


def test_collectives_as_they_are_written():
    program = """
      %a = f32[10,4]{1,0} all-gather(%p), dimensions={0}
      %s = (bf16[4,2]{1,0}, bf16[8,2]{1,0}) all-gather-start(%p), dimensions={0}
      %d = bf16[8,2]{1,0} all-gather-done(%s)
      %r = (f32[3]{0}, s8[5]{0}) all-reduce(%x, %y), to_apply=%add
      %q = pred[7]{0} collective-permute(%z)
      %n = f32[100]{0} fusion(%all-gather.1), kind=kLoop
    """
    assert traffic.count(program) == {
        "all-gather": Traffic(2, 160 + 32),
        "all-reduce": Traffic(1, 17),
        "collective-permute": Traffic(1, 7),
    }


@pytest.fixture
def study():
    return settings.create(tiny.config())


def test_places_are_those_that_divide(study):
    study.counts, study.layouts, study.strong_batch = (4, 1, 2, 3), ("fsdp", "spatial"), 8
    found = measuring.places(study)
    assert [place.name for place in found] == [
        *("strong-data-1", "strong-fsdp-2", "strong-fsdp-4", "strong-spatial-2", "strong-spatial-4"),
        *("weak-data-1", "weak-fsdp-2", "weak-fsdp-3", "weak-fsdp-4", "weak-spatial-2", "weak-spatial-4"),
    ]
    assert {place.batch for place in found if place.mode == "strong"} == {8}
    assert [place.batch for place in found if place.mode == "weak"][:4] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("counts", (), "config.counts"),
        ("layouts", ("rows",), 'config.layouts has "rows"'),
        ("rounds", 0, "config.rounds is 0"),
        ("pods.share_of_peak", 1.5, "shares"),
        ("laws.shares", (100,), "config.laws.shares"),
    ],
)
def test_a_study_that_cannot_be_made(study, field, value, said):
    study.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=said):
        settings.validate(study)


def test_a_cell_is_kept_until_what_it_was_made_from_changes(tmp_path):
    cell = make_cell(8, layout="fsdp")
    cells.write(tmp_path, cell, {"experiment": "a"})
    assert cells.read(tmp_path, cell.place, {"experiment": "a"}) == cell
    assert cells.read(tmp_path, cell.place, {"experiment": "b"}) is None
    assert cells.read(tmp_path, dataclasses.replace(cell.place, batch=64), {"experiment": "a"}) is None
    assert cells.read(tmp_path, dataclasses.replace(cell.place, devices=4), {"experiment": "a"}) is None


def test_the_fit_finds_the_numbers_that_made_the_seconds():
    launch, per_flop, per_byte, per_message = 2e-3, 1 / 300e12, 1 / 80e9, 4e-6

    def timed(cell):
        share = cell.flops / cell.place.devices
        return with_seconds(cell, launch + share * per_flop + cell.sent_bytes * per_byte + cell.messages * per_message)

    found = prediction.fit(
        [
            timed(make_cell(count, mode=mode, traffic={"all-gather": Traffic(7 * count, (count - 1) * size)}))
            for mode in ("strong", "weak")
            for count, size in ((1, 1), (2, 5_000_000), (4, 2_000_000), (8, 6_000_000))
        ]
    )
    numbers = (found.launch, found.per_flop, found.per_byte, found.per_message)
    np.testing.assert_allclose(numbers, (launch, per_flop, per_byte, per_message), rtol=1e-3)
    assert found.error < 1e-6 and found.held_out < 1e-3


def test_simulated_devices_share_their_work():
    counts = (1, 2, 4)
    found = prediction.fit([with_seconds(make_cell(n, kind="cpu", traffic={}), 0.5 * n) for n in counts])
    assert math.isclose(found.per_flop * make_cell(1).flops, 0.5, rel_tol=1e-6)
    assert found.held_out < 1e-6
    assert report.efficiency(make_cell(2, kind="cpu", seconds=(0.2,)), [make_cell(1, seconds=(0.1,))]) == 1


def test_efficiency_and_share_of_peak():
    alone, eight = make_cell(1, seconds=(0.1,)), make_cell(8, seconds=(0.125,))
    assert math.isclose(report.efficiency(eight, [alone, eight]), 0.8)
    assert math.isclose(prediction.share_of_peak(eight), 8 * 4 * 2e12 / (0.125 * 8 * 459e12))
    assert math.isnan(prediction.share_of_peak(make_cell(1, kind="abacus")))


def _predicted(study, measured, pod, mode="weak", layout="data"):
    (found,) = [p for p in prediction.predict(study, measured) if (p.pod, p.mode, p.layout) == (pod, mode, layout)]
    return found


def test_a_predicted_step_by_hand(study):
    study.pods.weak_batch, study.pods.share_of_peak = 10, 0.5
    base = make_cell(1, kind="cpu", moved_bytes=4e9)
    pair = make_cell(2, kind="cpu", traffic={"all-reduce": Traffic(3, 8_000_000)})
    step = _predicted(study, [base, pair], "H100 x 16")
    assert step.batch == 160
    assert math.isclose(step.work, 10 * 2e12 / (0.5 * 989e12))
    assert math.isclose(step.memory_traffic, 10 * 1e9 / 3.35e12)
    ring = 2 * 4e6 * 7 / 8 / 450e9 + 2 * 4e6 / 8 / 2 / 50e9  # within nodes of 8, and between the two
    assert math.isclose(step.talk, ring + 3 * 4 * 10e-6)
    assert math.isclose(step.seconds, max(step.work, step.memory_traffic) + step.talk)
    assert _predicted(study, [base, pair], "H100 x 1").talk == 0
    sharded = dataclasses.replace(pair, place=dataclasses.replace(pair.place, layout="fsdp"))
    assert _predicted(study, [base, pair, sharded], "H100 x 16", layout="fsdp").talk > step.talk


def test_a_share_of_peak_that_was_measured_is_used(study):
    base = make_cell(1, kind="TPU v5p", seconds=(0.04,))
    expected = prediction.share_of_peak(base)
    step = _predicted(study, [base], "v5p-8")
    assert math.isclose(step.work, study.pods.weak_batch * 2e12 / (459e12 * expected))
    assert step.devices == 4  # two cores a device


def test_batches_too_large_or_uneven_are_told(study):
    study.pods.strong_batch = 64
    found = prediction.predict(study, [make_cell(1, peak_bytes=40e9)])
    strong = {each.pod: each for each in found if each.mode == "strong"}
    assert "H100 x 64" in strong and "H100 x 128" not in strong
    assert not strong["H100 x 1"].fits and strong["H100 x 64"].fits


def test_pods_are_named_by_their_devices():
    tpu, gpu = hardware.ACCELERATORS
    assert set(tpu.pods) >= {"v5p-8", "v5p-1024"} and tpu.pods["v5p-1024"] == 512
    assert list(gpu.pods.values())[-1] == 256


def make_points(loss):
    sizes = {"a": 100_000, "b": 400_000, "c": 1_600_000, "d": 3_200_000, "e": 6_400_000}
    return [
        Point(f"{name}-0", size, images, 6.0 * size * images, loss(size / 1e6, images / 1e3))
        for name, size in sizes.items()
        for images in (1_000, 2_000, 4_000, 8_000, 16_000, 64_000)
    ]


def test_the_law_of_size_and_images_finds_its_numbers():
    points = make_points(lambda size, images: 0.002 + 0.001 * size**-0.4 + 0.004 * images**-0.6)
    law = laws.of_size_and_images(points)
    expected = {"floor": 0.002, "a": 0.001, "alpha": 0.4, "b": 0.004, "beta": 0.6}
    for name, value in expected.items():
        assert math.isclose(law.numbers[name], value, rel_tol=0.02), name
        assert law.low[name] <= law.numbers[name] * 1.02 and law.high[name] >= law.numbers[name] * 0.98
    assert law.error < 1e-3


def test_the_frontier_leaves_out_what_costs_more_and_is_no_better():
    points = [Point("a-0", 1, 1, flops, loss) for flops, loss in ((1e15, 0.4), (2e15, 0.5), (2e15, 0.2), (4e15, 0.2))]
    assert [(point.flops, point.loss) for point in laws.frontier(points)] == [(1e15, 0.4), (2e15, 0.2)]
    law = laws.of_compute([Point("a-0", 1, 1, c * 1e15, 0.3 * c**-0.25) for c in (1, 2, 4, 8, 16)])
    np.testing.assert_allclose((law.numbers["scale"], law.numbers["exponent"]), (0.3, 0.25), rtol=1e-6)


def test_trainings_of_the_grid(study, tmp_path):
    study.laws.widths, study.laws.depths, study.laws.shares, study.laws.seeds = (16, 8), (1, 2), (50,), (0, 1)
    runs = sizes.runs(study, tmp_path)
    assert len({run.name for run in runs}) == len(runs) == 10
    last = runs[-1]
    assert last.name == "width16_depth2_data50-1" and last.config.seed == 1
    assert last.config.data.train_split == "train[:50%]"
    assert last.config.model.encoder_blocks == (2, 2) and last.config.model.middle_blocks == 4
    study.laws.widths = ()
    assert sizes.runs(study, tmp_path) == []


@pytest.mark.slow
def test_the_program_measures_trains_and_goes_on(tmp_path):
    fields = tiny.FIELDS | {
        "train.duration": "8steps",
        "train.eval_every": "4steps",
        "train.checkpoint_every": "4steps",
    }
    flags = {f"experiment.{name}": value for name, value in fields.items()}
    flags |= {"counts": (1, 2), "layouts": ("data", "pmap"), "strong_batch": 4, "rounds": 2, "steps": 1}
    flags |= {"laws.widths": (8, 16), "laws.depths": (1,), "laws.shares": (50,)}
    command = [sys.executable, "-m", "experiments.scaling", "--config=configs/scaling.py", f"--workdir={tmp_path}"]
    command += [f"--config.{name}={value}" for name, value in flags.items()]

    def run():
        finished = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    assert "measuring weak-pmap-2" in run()
    text = (tmp_path / "report" / "report.md").read_text()
    assert "width16_depth1_data50-0" in text and "H100 x 256" in text and "v5p-1024" in text
    kept = json.loads((tmp_path / "cells" / "strong-data-2.json").read_text())["cell"]
    one = json.loads((tmp_path / "cells" / "strong-data-1.json").read_text())["cell"]
    assert kept["traffic"]["all-reduce"][1] >= one["parameter_bytes"] and not one["traffic"]
    before = (tmp_path / "report" / "cells.csv").read_bytes()
    assert "measuring" not in run()
    assert (tmp_path / "report" / "cells.csv").read_bytes() == before
