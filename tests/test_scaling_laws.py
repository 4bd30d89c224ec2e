"""The laws of loss by size, images and compute: what is trained for them, refused, and fitted."""

import json
import math
import time

import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.scaling import laws, report, settings, sizes, tables
from faceflax.scaling.laws import Point
from faceflax.scaling.sizes import Size
from tests import tiny
from tests.cells import make_cell


def make_points(loss, *, sizes=(100_000, 400_000, 1_600_000, 6_400_000), seeds=(0, 1), noise=0.0):
    rng = np.random.default_rng(0)
    return [
        Point(f"{size}-{seed}", size, images, 6.0 * size * images, loss(size / 1e6, images / 1e3) * luck)
        for size in sizes
        for seed in seeds
        for luck in [np.exp(noise * rng.normal())]
        for images in (1_000, 2_000, 4_000, 8_000, 16_000, 64_000)
    ]


def _loss(size, images):
    return 0.002 + 0.001 * size**-0.4 + 0.004 * images**-0.6


def test_the_law_of_size_and_images_finds_its_numbers():
    law = laws.of_size_and_images(make_points(_loss))
    expected = {"floor": 0.002, "a": 0.001, "alpha": 0.4, "b": 0.004, "beta": 0.6}
    for name, value in expected.items():
        assert math.isclose(law.numbers[name], value, rel_tol=0.02), name
        assert law.low[name] <= law.numbers[name] * 1.02 and law.high[name] >= law.numbers[name] * 0.98
    assert law.error < 1e-3


def test_intervals_widen_with_chance_and_take_no_minute():
    start = time.perf_counter()
    law = laws.of_size_and_images(make_points(_loss, noise=0.05))
    assert time.perf_counter() - start < 30
    assert law.low["floor"] < 0.002 < law.high["floor"]
    assert law.high["alpha"] - law.low["alpha"] > 0.01


@pytest.mark.parametrize(
    "points",
    [
        make_points(_loss, sizes=(100_000,)),
        make_points(_loss, sizes=(100_000, 400_000)),
        make_points(_loss, seeds=(0,)),
        [point for point in make_points(_loss) if point.images > 8_000],
        [],
    ],
    ids=["one size", "two sizes", "one seed", "two validations", "none"],
)
def test_too_few_points_give_no_law(points):
    assert laws.of_size_and_images(points) is laws.of_compute(points) is None
    assert [row[1] for row in tables.law_table(points).rows] == ["too few points tell of it"] * 2


def test_the_frontier_leaves_out_what_costs_more_and_is_no_better():
    points = [Point("a-0", 1, 1, flops, loss) for flops, loss in ((1e15, 0.4), (2e15, 0.5), (2e15, 0.2), (4e15, 0.2))]
    assert [(point.flops, point.loss) for point in laws.frontier(points)] == [(1e15, 0.4), (2e15, 0.2)]
    points = make_points(lambda size, images: 0.3 * (6 * size * images * 1e-6) ** -0.25)
    law = laws.of_compute(points)
    np.testing.assert_allclose((law.numbers["scale"], law.numbers["exponent"]), (0.3, 0.25), rtol=1e-6)
    assert laws.of_compute([point for point in points if point.loss == points[0].loss]) is None


@pytest.fixture
def study():
    return settings.create(tiny.config(data__batch_size=4, train__duration="2epochs", train__eval_every="25steps"))


def test_trainings_of_the_grid(study, tmp_path):
    study.laws.widths, study.laws.depths, study.laws.seeds = (16, 8, 8), (1, 2), (0, 1)
    runs = sizes.runs(study, tmp_path)
    assert len({run.name for run in runs}) == len(runs) == 8
    last = runs[-1]
    assert last.name == "width16_depth2-1" and last.config.seed == 1
    assert last.config.model.encoder_blocks == (2, 2) and last.config.model.middle_blocks == 4
    study.laws.widths = ()
    assert sizes.runs(study, tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("train.duration", "5epochs", "each of 400 images 5.0 times"),
        ("data.batch_size", 50, "only 1 validation"),
        ("train.eval_every", "150steps", "only 2 validation"),
        ("optim.warmup", "49steps", "only 1 validation"),
        ("data.train_split", "train[:10%]", "only 1 validation"),
        ("data.eval_split", "elsewhere", "no split"),
        ("data.dataset", "nothing_of_the_kind", "nothing_of_the_kind"),
    ],
)
def test_trainings_that_give_no_law_are_refused(study, field, value, said):
    assert sizes.settled_step(study) == 8
    study.experiment.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=said):
        sizes.settled_step(study)


def test_points_begin_when_the_training_has_settled(study, tmp_path):
    study.laws.widths = (8,)
    run = sizes.runs(study, tmp_path)[0]
    run.workdir.mkdir(parents=True)
    lines = [{"step": step, "eval/psnr": 20.0 + step} for step in (0, 4, 8, 12)] + [{"step": 12, "train/loss": 1.0}]
    (run.workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = sizes.points([run], {"width8_depth1": Size(1_000, 5e6)}, first=8)
    assert [(point.images, point.flops, point.parameters) for point in found] == [
        (32, 1.6e8, 1_000),
        (48, 2.4e8, 1_000),
    ]
    assert math.isclose(found[0].loss, 10**-2.8)


def test_the_report_says_what_its_laws_stand_on(study, tmp_path):
    alone = [make_cell(1, kind="cpu", mode=mode) for mode in ("weak", "strong")]
    report.write(study, alone, make_points(_loss), tmp_path, {"commit": "abc"})
    text = (tmp_path / "report.md").read_text()
    assert "trained for 2epochs with 2 seeds" in text and "All sizes share one learning rate, 0.001" in text
    assert "| 6400000-1 " in text and "alpha 0.4" in text and "too few points" not in text
    assert len((tmp_path / "points.csv").read_text().splitlines()) == 1 + 4 * 2 * 6
    assert (tmp_path / "laws.png").stat().st_size > 1000
