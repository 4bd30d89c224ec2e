"""The report says the same in every format, and nothing that is not in the results."""

import base64
import csv
import dataclasses
import html.parser
import io
import json
import re

import cv2
import numpy as np
import pytest

from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import grid, statistics
from faceflax.evaluation import results as results_lib
from faceflax.evaluation.report import write_report
from faceflax.evaluation.results import METHODS, Example, TaskResult
from faceflax.evaluation.tables import Table, brief, escape_latex, tables, to_csv, to_markdown, to_text

COUNT, SIZE = 20, 32
MANIFEST = {
    "faceflax": "0.1.0",
    "commit": "c0ffee",
    "command": "evaluate --workdir=a_b & 100%",
    "config": "0123456789ab",
    "dataset": {"name": "mini_faces", "split": "test", "fingerprint": "ba9876543210", "image_size": SIZE},
    "seed": 7,
    "step": 1234,
    "trained": {"config": "fedcba987654", "commit": "beefed"},
}


def make_result(name, severity, *, holes=False, failures=0, seed=0):
    rng = np.random.default_rng(seed)
    scores = {}
    for offset, method in enumerate(METHODS):
        psnr = 20 + 2 * offset + rng.normal(size=COUNT)
        hole = psnr - 5 if holes else np.full(COUNT, np.nan)
        scores[method] = {
            "psnr": psnr,
            "ssim": rng.uniform(0.5, 0.9, COUNT),
            "hole_psnr": hole,
            "known_psnr": np.where(np.isnan(hole), np.nan, 100.0),
        }
    if holes:
        for method in METHODS:
            scores[method]["hole_psnr"][3] = np.nan  # an image without a hole
    pictures = rng.integers(0, 256, (3, 4, SIZE, SIZE, 3), np.uint8)
    examples = [
        Example(
            index=i,
            clean=pictures[i, 0],
            pictures={method: pictures[i, 1 + j] for j, method in enumerate(METHODS)},
            psnr={method: float(scores[method]["psnr"][i]) for method in METHODS},
        )
        for i in range(3)
    ]
    return TaskResult(Task(name, severity), "Telea <&> co_1", np.arange(COUNT), scores, failures, examples)


@pytest.fixture(scope="module")
def results():
    return [make_result("noise", 50, failures=2), make_result("occlude", 25, holes=True, seed=1)]


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    paths = write_report(results, folder, MANIFEST)
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()}
    return {path.name: path for path in paths}


def test_csv_parses_back(report, results):
    rows = list(csv.DictReader(io.StringIO(report["table.csv"].read_text())))
    assert [(row["task"], row["severity"], row["images"], row["failures"]) for row in rows] == [
        ("noise", "50", "20", "2"),
        ("occlude", "25", "20", "0"),
    ]
    for row, result in zip(rows, results, strict=True):
        assert row["baseline"] == result.baseline
        for method in METHODS:
            assert float(row[f"psnr_{method}"]) == pytest.approx(result.scores[method]["psnr"].mean(), abs=1e-5)
            assert float(row[f"ssim_{method}"]) == pytest.approx(result.scores[method]["ssim"].mean(), abs=1e-5)
        gain = result.scores["model"]["psnr"] - result.scores["baseline"]["psnr"]
        assert float(row["psnr_gain_over_baseline"]) == pytest.approx(gain.mean(), abs=1e-5)
        assert float(row["psnr_gain_over_baseline_low"]) < gain.mean() < float(row["psnr_gain_over_baseline_high"])
    assert rows[0]["hole_psnr_model"] == "" and rows[0]["hole_psnr_gain_over_input_low"] == ""
    hole = results[1].scores["model"]["hole_psnr"]
    assert float(rows[1]["hole_psnr_model"]) == pytest.approx(np.nanmean(hole), abs=1e-5)
    assert float(rows[1]["known_psnr_model"]) == 100


@pytest.mark.parametrize("name", ["table.csv", "table.md", "table.tex", "index.html"])
def test_every_table_is_signed(report, name):
    text = report[name].read_text().replace("\\_", "_")
    for part in ("RGB", "crop 0", "data range 1", "8 bits", "SSIM Gaussian 11/1.5", "mini_faces test", "20 images"):
        assert part in text, part
    for part in (
        "ba9876543210",
        "faceflax 0.1.0",
        "0123456789ab",
        "step 1234",
        "seed 7",
        "fedcba987654",
        "commit beefed",
    ):
        assert part in text, part


def test_the_same_results_give_the_same_bytes(report, results, tmp_path):
    later = MANIFEST | {"command": "another", "made": "2031-01-01"}
    again = {path.name: path for path in write_report(results, tmp_path, later)}
    for name in ("table.csv", "table.md", "table.tex", "grid.png"):
        assert again[name].read_bytes() == report[name].read_bytes(), name
    assert json.loads(again["manifest.json"].read_text())["made"] == "2031-01-01"


def test_markdown_is_a_table(report):
    lines = [line for line in report["table.md"].read_text().splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert len(lines) == 2 + 2 + 2 + 1  # both tasks, then the one with holes
    assert {len(row) for row in cells[:4]} == {12} and {len(row) for row in cells[4:]} == {11}
    assert cells[6][1].strip() == "19"  # one image had no hole


def test_markdown_escapes_pipes():
    assert r"a\|b" in to_markdown(Table("t", ["x"], [["a|b"]]))


def test_latex_prints_what_is_meant(report):
    assert escape_latex(r"50% & a_b #1 $x {y} ~ ^ < > \z") == (
        r"50\% \& a\_b \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textless{} \textgreater{} \textbackslash{}z"
    )
    assert escape_latex("-0.50 [-1.00, 0.25]") == "$-$0.50 [$-$1.00, 0.25]"
    assert escape_latex("2026-11-23 non-local") == "2026-11-23 non-local"
    text = report["table.tex"].read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1]
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    for row in body:
        assert row.endswith(r" \\")
        assert len(re.split(r"(?<!\\)&", row)) == len(columns)
    assert not re.search(r"(?<!\\)[%#]", text.replace("\\%", ""))


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.open, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(report):
    text = report["index.html"].read_text()
    page = _Page()
    page.feed(text)
    assert not page.open
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers" in text or "color-scheme: light dark" in text
    assert len(page.sources) == 2 * 3 * 4
    for source in page.sources:
        encoded = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"), validate=True)
        assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape == (SIZE, SIZE, 3)
    assert "Telea &lt;&amp;&gt; co_1" in text and "a_b &amp; 100%" in text


def test_the_grid_shows_the_pictures(report, results):
    picture = cv2.imread(str(report["grid.png"]))[..., ::-1]
    enlarged = cv2.resize(results[1].examples[1].pictures["model"], (128, 128), interpolation=cv2.INTER_NEAREST)
    found = cv2.matchTemplate(picture.astype(np.float32), enlarged.astype(np.float32), cv2.TM_SQDIFF)
    assert found.min() < 1
    top, left = np.unravel_index(found.argmin(), found.shape)
    assert top > picture.shape[0] / 2 - 20 and left > picture.shape[1] * 0.8
    without = [dataclasses.replace(results[0], examples=[_without_baseline(results[0].examples[0])])]
    assert list(grid.columns(without[0].examples[0])) == ["clean", "degraded", "restored"]
    assert grid.draw(without).shape[1] < picture.shape[1]


def _without_baseline(example):
    pictures = {method: picture for method, picture in example.pictures.items() if method != "baseline"}
    return dataclasses.replace(example, pictures=pictures)


def test_tables_agree_with_the_results(results):
    whole, holes = tables(results)
    assert [row[0] for row in whole.rows] == ["noise 50", "occlude 25"]
    assert [row[0] for row in holes.rows] == ["occlude 25"]
    assert whole.rows[0][-1] == "2"
    shown = brief(results)
    assert [row[0] for row in shown.rows] == ["noise 50", "occlude 25", "occlude 25, hole"]
    assert shown.rows[0][3] == f"{results[0].scores['model']['psnr'].mean():.2f}"
    assert max(map(len, to_text(shown).splitlines())) <= 110


def test_no_negative_zero():
    result = make_result("noise", 15)
    for method in METHODS:
        result.scores[method]["psnr"] = np.full(COUNT, 20.0)
    result.scores["model"]["psnr"] = np.full(COUNT, 20.0 - 1e-9)
    assert not re.search(r"-0\.0+(?![0-9])", to_csv([result], "s") + to_text(brief([result])))


def test_a_folder_that_cannot_be_made_is_one_sentence(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_report(results, tmp_path / "file" / "report", MANIFEST)


def test_an_interval_is_computed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(results_lib, "bootstrap", lambda gain: calls.append(len(gain)) or statistics.bootstrap(gain))
    made = [make_result("noise", 50)]
    once = brief(made), tables(made), to_csv(made, "")
    assert len(calls) == 4  # PSNR and SSIM, over the input and over the classical method
    fresh = [make_result("noise", 50)]
    assert (brief(fresh), tables(fresh), to_csv(fresh, "")) == once
