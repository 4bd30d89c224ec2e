"""Differences, verdicts and tables say what the cells hold, and no more than they can bear."""

import csv
import dataclasses
import io

import numpy as np
import pytest
import scipy.stats

from faceflax import config as config_lib
from faceflax.degradations import Task
from faceflax.evaluation import judges
from faceflax.evaluation.benchmark import arms, budgets, discriminators, plots, report, settings, tables, verdict
from faceflax.evaluation.benchmark.analysis import Difference, Results
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.efficiency import Efficiency
from faceflax.evaluation.benchmark.efficiency import to_table as costs_table
from faceflax.evaluation.benchmark.plan import Run
from faceflax.evaluation.tables import to_latex, to_markdown

COUNT, SIZE, SEEDS = 40, 16, (0, 1)
TASK = Task("noise", 50)
TASKS = ("noise 15", "noise 50", "occlude 50")
LEVEL = {"input": 20.0, "classical": 22.0, "cnn": 26.0, "gan": 25.0, "twin": 26.0}


def make_settings():
    config = settings.create({name: config_lib.default() for name in ("cnn", "gan", "twin")})
    config.seeds = SEEDS
    config.eval.tasks, config.eval.curve = TASKS, ()
    config.compare.cnn, config.compare.gan = "cnn", "gan"
    return config


def make_cell(rng, hard, level, holes):
    psnr = level + hard + rng.normal(0, 0.3, COUNT)
    hole = psnr - 5 if holes else np.full(COUNT, np.nan)
    hole[3] = np.nan  # an image without a hole
    scores = {"psnr": psnr, "ssim": psnr / 40, "hole_psnr": hole, "known_psnr": np.full(COUNT, np.nan)}
    scores["perceptual"] = (level - 20) / 30 + rng.normal(0, 0.01, COUNT)  # what is sharper is further away here
    features = rng.normal(level - 20, 1, (COUNT, 8)).astype(np.float16)
    pictures = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    scores["tar_identity_0.01"] = (rng.random(COUNT) < (level - 20) / 8).astype(float)
    of_set = {"kid": judges.kid(np.zeros((COUNT, 8)), features)}
    return Cell({}, {}, np.arange(COUNT), scores, {"kid": features}, of_set, np.zeros(COUNT, bool), pictures)


@pytest.fixture(scope="module")
def results():
    rng, config = np.random.default_rng(0), make_settings()
    runs = [Run(arm, seed, None, None, "", {}) for seed in SEEDS for arm in config.arms]
    hard = rng.normal(0, 3, COUNT)
    found = {}
    for method in ("input", "classical", *(run.name for run in runs)):
        for task in settings.all_tasks(config):
            cell = make_cell(rng, hard, LEVEL[method.partition("-")[0]], task.name == "occlude")
            found[method, task] = cell
    pictures = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    clean = Cell({}, {}, np.arange(COUNT), {}, {"kid": np.zeros((COUNT, 8))}, {}, np.zeros(COUNT, bool), pictures)
    return Results(config, runs, clean, found)


def test_differences_are_paired_over_images_and_averaged_over_seeds_and_tasks(results):
    tasks = results.tasks[:2]
    found = results.difference("gan", "cnn", tasks, "psnr")
    gains = np.mean(
        [
            results.cells[f"gan-{seed}", task].scores["psnr"] - results.cells[f"cnn-{seed}", task].scores["psnr"]
            for seed in SEEDS
            for task in tasks
        ],
        axis=0,
    )
    assert found.mean == pytest.approx(gains.mean()) == pytest.approx(np.mean(found.by_seed))
    expected = scipy.stats.bootstrap((gains,), np.mean, method="percentile", rng=np.random.default_rng(1))
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.1 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.1 * width)
    assert found.is_significant and width < 0.5  # the images' hardness, 3 dB, has cancelled


def test_rates_of_acceptance_have_intervals_of_which_pairs_pass(results):
    metric, (task, *_) = "tar_identity_0.01", results.tasks
    assert results.values("gan-0", task, metric) == results.cells["gan-0", task].scores[metric].mean()
    found = results.difference("gan", "input", results.tasks, metric)
    assert found.is_significant and 0 < found.low < found.mean < found.high < 1
    row = dict(zip(*(lambda table: (table.header, table.rows[0]))(tables.by_metric(results)[metric]), strict=True))
    assert "≈" in row["twin"] and "[" in row["gan minus cnn"]


def test_only_tasks_that_have_a_metric_count(results):
    found = results.difference("gan", "cnn", results.tasks, "hole_psnr")
    assert found == results.difference("gan", "cnn", results.tasks[2:], "hole_psnr")
    assert np.isfinite(found.low)
    assert results.difference("gan", "cnn", results.tasks[:2], "hole_psnr") is None
    assert results.difference("gan", "cnn", [], "psnr") is None


def test_a_method_without_seeds_stands_beside_each_seed(results):
    found = results.difference("classical", "cnn", results.tasks, "psnr")
    expected = [
        np.mean([results.values("classical", t, "psnr") - results.values(f"cnn-{s}", t, "psnr") for t in results.tasks])
        for s in SEEDS
    ]
    assert found.by_seed == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "by_seed", "expected"),
    [
        (0.1, 0.3, (0.1, 0.3), True),
        (-0.1, 0.3, (0.1, 0.1), False),
        (0.1, 0.3, (0.5, -0.1), False),
        (-0.3, -0.1, (-0.2, -0.2), True),
        (-0.3, -0.1, (-0.5, 0.1), False),
        (np.nan, np.nan, (1.0, 1.0), False),
    ],
)
def test_significant_is_what_interval_and_every_seed_agree_on(low, high, by_seed, expected):
    assert Difference(float(np.mean(by_seed)), low, high, by_seed).is_significant is expected


def test_claims_are_decided_by_sign_and_significance():
    up, down = Difference(1.0, 0.5, 1.5, (1.0,)), Difference(-1.0, -1.5, -0.5, (-1.0,))
    unclear = Difference(1.0, -0.5, 2.5, (1.0,))
    assert verdict.decide(up, 1) == verdict.decide(down, -1) == verdict.HOLDS
    assert verdict.decide(up, -1) == verdict.decide(down, 1) == verdict.FAILS
    assert verdict.decide(unclear, 1) == verdict.decide(None, 1) == verdict.OPEN


def test_costs_need_more_than_the_margin():
    assert verdict.decide_costs(np.array([2.0, 2.1, 2.2]))[0] == verdict.HOLDS
    assert verdict.decide_costs(np.array([1.01, 0.99, 1.02]))[0] == verdict.FAILS
    assert verdict.decide_costs(np.array([1.0, 1.3, 0.9]))[0] == verdict.OPEN
    assert verdict.decide_costs(np.array([3.0])) == (verdict.HOLDS, "3.00 times")


def described(arm, **changes):
    """An entry of `runs` in `measured.json`; "twin" is the GAN without a discriminator only by `changes`."""
    kind, start = ("gan" if arm == "gan" else "cnn"), [] if arm == "cnn" else ["cnn", 9]
    described = {"arm": arm, "kind": kind, "model": {"name": "encoder_decoder", "width": 8}, "loss": {arm: 1.0}}
    described |= {"gan": {"weight": 0.1, "loss": "hinge"} if kind == "gan" else {}, "optim": {"lr": 0.1}, "style": 0.0}
    return described | {"step": 9, "batch_size": 4, "duration": "9steps", "source": arm, "start": start} | changes


def make_costs():
    cheap = Efficiency(10**6, 0, 1e9, 3e8, 2.0**20, 2.0**20, (0.1, 0.11), (0.02, 0.02), 60.0)
    dear = Efficiency(10**6, 0, 2e9, 3e8, 2.0**21, 2.0**20, (0.25, 0.26), (0.02, 0.02), 150.0)
    return {"cnn": cheap, "gan": dear, "twin": cheap}


def test_verdicts_follow_from_the_numbers(results):
    runs = {run.name: described(run.arm) for run in results.runs}
    found = {(each.claim, each.metric): each for each in verdict.findings(results, make_costs(), runs)}
    light = found["CNNs are more accurate on light damage", "psnr"]
    assert (light.verdict, light.on) == ("holds for these trainings", "noise 15")  # there are two
    occluded = "GANs are better on large occlusions"
    assert found[occluded, "perceptual"].verdict == "holds for these trainings"  # the GAN's distance is smaller
    assert found[occluded, "hole_psnr"].verdict == "does not hold for these trainings"
    assert found[occluded, "identity"].number == "not measured" and (occluded, "identity_dlib") not in found
    assert found["GANs look more real", "kid"].verdict == "holds for these trainings"
    assert found["CNNs are more efficient", "time of training, by image"].verdict == verdict.HOLDS
    assert found["CNNs are more efficient", "time of restoring, by image"].verdict == verdict.SAME
    (*_, guidance) = found.values()
    assert guidance.verdict == verdict.OPEN  # identity was not measured
    uses = verdict.guidance(results)
    assert uses.header == ["task", "for accuracy (by psnr)", "for looks (by kid)"] and uses.rows[0][1:] == [
        "cnn",
        "gan",
    ]
    assert verdict.findings(results, {}, runs)[-2].number == "not measured"
    runs["gan-0"]["model"] = {"width": 16}
    assert verdict.findings(results, make_costs(), runs)[-2].verdict == verdict.FAILS  # equal times of other networks


def test_a_judge_that_no_loss_knows_decides_and_the_others_are_marked(results):
    level = {"cnn": 0.2, "gan": 0.8}
    found = {}
    for (method, task), cell in results.cells.items():
        scores = {"identity": level.get(method[:3], 0.5), "identity_dlib": 1 - level.get(method[:3], 0.5)}
        scores = {name: np.full(COUNT, value) for name, value in scores.items()}
        found[method, task] = dataclasses.replace(cell, scores=cell.scores | scores)
    three = make_settings()
    three.seeds = (0, 1, 2)
    runs = [*results.runs, *(Run(arm, 2, None, None, "", {}) for arm in three.arms)]
    found |= {(f"{run.arm}-2", task): found[f"{run.arm}-0", task] for run in runs for task in results.tasks}
    both = Results(three, runs, results.clean, found)
    trained = {run.name: described(run.arm, loss={"identity": 0.1, "ssim": 0.0}) for run in runs}
    verdicts = verdict.findings(both, {}, trained)
    occluded = {each.metric: each.verdict for each in verdicts if "occlusions" in each.claim}
    assert (occluded["identity"], occluded["identity_dlib"]) == (verdict.HOLDS, verdict.FAILS)
    assert verdicts[-1].verdict == verdict.FAILS and "identity_dlib" in verdicts[-1].metric
    marked = arms.in_loss(trained, "gan")
    assert marked == {"identity", "tar_identity_0.01", "tar_identity_0.001"}
    by = {row[1] for row in verdict.to_table(verdicts, "cnn", "gan", marked).rows}
    assert {"identity similarity [in its loss]", "identity similarity, dlib", "SSIM"} <= by


def test_what_the_discriminator_adds_is_told_where_an_arm_lacks_it_alone(results):
    claims = lambda runs: [each for each in verdict.findings(results, {}, runs) if "discriminator" in each.claim]  # noqa: E731
    runs = {run.name: described(run.arm) for run in results.runs}
    assert not claims(runs) and "these numbers do not tell" in verdict.about(results, runs)
    same = {run.name: described(run.arm, loss={"psnr": 1.0}) for run in results.runs}
    assert "other losses" not in verdict.about(results, same)
    runs |= {name: described("twin", loss={"gan": 1.0}) for name in ("twin-0", "twin-1")}
    found = {each.metric: each for each in claims(runs)}
    assert set(found) == {"kid", "perceptual", "identity"} and all(
        "gan minus twin" in name.claim for name in claims(runs)
    )
    expected = results.difference("gan", "twin", results.tasks, "perceptual")
    assert found["perceptual"].number == tables.interval("perceptual", expected)
    assert found["perceptual"].verdict == "holds for these trainings"
    assert "what the discriminator adds by itself is gan minus twin" in verdict.about(results, runs)
    runs |= {name: described("twin", loss={"gan": 1.0}, optim={"lr": 0.2}) for name in ("twin-0", "twin-1")}
    assert not claims(runs)


def test_budgets_are_counted_from_the_common_start(results):
    def about(**changes):
        runs = {run.name: described(run.arm) for run in results.runs}
        for name, fields in changes.items():
            runs[f"{name}-0"] |= fields
            runs[f"{name}-1"] |= fields
        return budgets.since_common_start(runs, "cnn-1", "gan-1"), verdict.about(results, runs)

    found, text = about()  # the GAN goes on where the CNN ended
    assert found == (0, 36) and "budgets are not equal: since their common start cnn has been trained on 0" in text
    twins = {"start": ["cnn64", 5]}
    found, text = about(cnn=twins, gan=twins)
    assert found == (36, 36) and "have each been trained on 36 images" in text
    assert about(cnn=twins, gan=twins | {"step": 7})[0] == (36, 28)
    assert about(cnn=twins, gan={"start": ["cnn64", 6]})[0] is None
    assert "is not known" in about(cnn={"start": ["cnn64", -1]}, gan={"start": ["cnn64", -1]})[1]
    assert about(gan={"start": []})[0] == (36, 36)  # both anew
    assert about(gan={"start": ["twin", 9]})[0] == (0, 72)  # which starts from the CNN
    assert about(cnn={"start": ["cnn", 6]})[0] == (0, 36)  # a former model of the package of the same name


def test_the_report_says_of_every_arm_what_its_loss_knows():
    known = {"cnn": set(), "gan": {"perceptual", "psnr"}, "twin": {"identity"}}
    assert report._trained_on(known, ["perceptual", "identity", "kid"]) == [
        "The loss of gan knows what these see: perceptual distance (less is better).",
        "The loss of twin knows what these see: identity similarity.",
    ]


def test_tables_mark_what_is_not_told_apart(results):
    table = tables.by_metric(results)["psnr"]
    assert table.header == ["task", "classical method", "input", "classical", "cnn", "gan", "twin", "gan minus cnn"]
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["cnn"] == f"{results.mean('cnn', results.tasks[:1], 'psnr'):.2f}"
    assert "≈" in row["twin"] and "≈" not in row["gan"]
    assert row["gan minus cnn"].startswith("-1.") and ".." in row["gan minus cnn"]
    assert table.rows[-1][0] == "mean of 3"
    assert [row[0] for row in tables.by_metric(results)["hole_psnr"].rows] == ["occlude 50"]
    assert "known_psnr" not in tables.by_metric(results)  # no task has it
    assert r"$\approx$" in to_latex(table) and "≈" not in to_latex(table)
    assert "---:" in to_markdown(table).splitlines()[3]
    assert costs_table(make_costs()).rows[1][:4] == ["gan", "1.00", "0.00", "2.00"]


def test_what_is_exactly_equal_bears_no_mark(results):
    known = dict.fromkeys(("cnn-0", "cnn-1", "twin-0", "twin-1"), np.full(COUNT, 100.0))
    known |= dict.fromkeys(("gan-0", "gan-1"), np.where(np.arange(COUNT) == 7, 99.0, 100.0))
    scored = {
        (method, task): dataclasses.replace(cell, scores=cell.scores | {"known_psnr": known[method]})
        for (method, task), cell in results.cells.items()
        if method in known and task == TASK
    }
    found = Results(results.settings, results.runs, results.clean, results.cells | scored)
    assert tables._marked(found, "known_psnr", "twin", [TASK]) == "100.00"
    assert tables._marked(found, "known_psnr", "gan", [TASK]) == "99.97 ≈"


def test_a_mean_of_one_task_is_called_by_its_name(results):
    one = results.settings.copy_and_resolve_references()
    one.fidelity.cnn, one.fidelity.gan, one.fidelity.points = "cnn", "gan", (0.0, 1.0)
    one.fidelity.tasks = (str(TASK),)
    found = Results(one, results.runs, results.clean, results.cells)
    assert tables.fidelity(found).title == "Fidelity, noise 50, seed 0"
    one.fidelity.tasks = TASKS
    assert tables.fidelity(found).title == "Fidelity, mean of 3 tasks, seed 0"


def test_names_and_texts_lie_within_their_plots(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots.pyplot, "close", drawn.append)
    names = ("input", "classical", "cnn", "cnn_continued", "cnn_perceptual", "gan", "gan_plain")
    points = {name: [(0.0, 20.0 + number)] for number, name in enumerate(names)}
    for panels in ({"PSNR": points}, dict.fromkeys("abc", points)):
        plots.lines(panels, "x")
        plots.scatter(panels, "x", "y")
    plots.path({"mean of 3 tasks": [(22.1, 0.3, "0"), (22.41, 0.33, "0.5"), (22.2, 0.4, "1")]}, "x", "y")
    for figure in drawn:
        shown = [*figure.legends, *(text for axis in figure.axes for text in axis.texts)]
        boxes = [each.get_window_extent() for each in shown]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
        assert len(figure.legends[0].get_texts()) in (1, len(names))
    monkeypatch.undo()
    plots.pyplot.close("all")


def test_csv_holds_every_cell_and_difference(results):
    scores = list(csv.DictReader(io.StringIO(tables.scores_csv(results))))
    assert len(scores) == len(results.cells)
    row = next(row for row in scores if (row["method"], row["task"], row["severity"]) == ("gan-1", "noise", "50"))
    assert float(row["psnr"]) == pytest.approx(results.values("gan-1", Task("noise", 50), "psnr"), abs=1e-6)
    assert row["hole_psnr"] == "" and row["images"] == str(COUNT)
    differences = list(csv.DictReader(io.StringIO(tables.differences_csv(results))))
    row = next(row for row in differences if row["task"] == "all" and row["metric"] == "kid" and row["arm"] == "gan")
    found = results.difference("gan", "cnn", results.tasks, "kid")
    assert float(row["mean"]) == pytest.approx(found.mean, abs=1e-6) and row["significant"] == "1"


def test_discriminators_tell_pairs_apart_and_are_right_by_the_side_of_one_half(results):
    nothing = np.zeros((4, 0))

    def judged(real, cnn, gan, seed):
        scores = {"real": np.array(real), f"cnn-{seed}": np.array(cnn), f"gan-{seed}": np.array(gan)}
        return Cell({}, {}, np.arange(4), scores, {}, {}, np.zeros(4, bool), nothing)

    one = judged([0.9, 0.6, 0.51, 0.4], [0.1, 0.2, 0.3, 0.5], [0.6, 0.7, 0.1, 0.2], 0)
    two = judged([0.9, 0.6, 0.51, 0.6], [0.1, 0.2, 0.3, 0.6], [0.6, 0.7, 0.8, 0.2], 1)
    found = {"gan-0": dict.fromkeys(results.tasks, one), "gan-1": dict.fromkeys(results.tasks, two)}
    (table,) = discriminators.to_tables(results, found)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["task"] == "noise 15" and table.rows[-1][0] == "mean of 3"
    assert (row["cnn, pairs"], row["gan, pairs"]) == ("0.750", "0.625")  # 6 and 5 of the 8 faces; equal is not told
    assert [row[f"{name}, right"] for name in ("real", "cnn", "gan")] == ["0.875", "0.875", "0.375"]
    assert (row["cnn, accuracy"], row["gan, accuracy"]) == ("0.875", "0.625")
    assert row["real, probability"] == f"{np.mean([*one.scores['real'], *two.scores['real']]):.3f}"


def test_arms_are_named_by_their_losses_and_failures(results):
    weights = dict.fromkeys(("charbonnier", "l1", "psnr", "ssim", "ms_ssim", "fft", "perceptual", "identity"), 0.0)
    weights["charbonnier"] = 1.0
    run, plain = (described(arm, loss=weights) for arm in ("cnn", "gan"))
    cut_short = run | {"step": 7}
    table = arms.to_table(results, {"cnn-0": run, "cnn-1": cut_short, "gan-0": plain, "twin-0": run | {"arm": "twin"}})
    assert table.rows[0] == ["cnn", "cnn", "encoder_decoder", "new", "9 7 of 9steps", "4", "charbonnier 1", "0"]
    assert [row[3] for row in table.rows] == ["new", "cnn", "new"]
    elsewhere = plain | {"start": ["cnn", 6]}  # a former network of that name
    assert arms.to_table(results, {"cnn-0": run, "gan-0": elsewhere, "twin-0": run | {"arm": "twin"}}).rows[1][3] == (
        "cnn, step 6"
    )
    assert table.rows[1][6] == "charbonnier 1, adversarial 0.1 (hinge), no perceptual and no identity term"
    assert arms.losses(dict.fromkeys(weights, 0.0), {}, 1.0) == "style 1"
    failed = dataclasses.replace(results.cells["gan-0", TASK], failed=np.arange(COUNT) < 3)
    with_failures = Results(results.settings, results.runs, results.clean, results.cells | {("gan-0", TASK): failed})
    assert with_failures.failures("gan") == 3 and with_failures.failures("cnn") == 0
