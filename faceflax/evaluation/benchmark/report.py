"""The benchmark's report: verdicts, tables and plots in every format. Equal cells give equal bytes."""

import dataclasses
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflax.datasets.images import encode_jpeg
from faceflax.degradations import Task
from faceflax.evaluation import page
from faceflax.evaluation.benchmark import arms, budgets, discriminators, efficiency, pictures, tables, verdict
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.analysis import METRICS, Results
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.efficiency import Efficiency
from faceflax.evaluation.report import PROTOCOL
from faceflax.evaluation.tables import Table, to_latex, to_markdown
from faceflax.files import atomic_path, write_json, write_text

Judged = Mapping[str, Mapping[Task, Cell]]

_FACES_QUALITY = 85  # of the page of faces; 4:4:4
_EFFICIENCY = "efficiency.csv"
_PLOTS = _PLANE, _CURVE, _BETWEEN = ("perception_distortion.png", "occlusion.png", "fidelity.png")
_RECOGNITION = "tar_"
_PERCEPTION = ("perceptual", "identity", "identity_dlib", "kid")


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report: text, then tables, then one picture (file name and contents)."""

    title: str
    text: str
    tables: list[Table]
    picture: tuple[str, bytes] | None = None


def write(results: Results, judged: Judged, measured: Mapping[str, Any], workdir: Path) -> list[Path]:
    """Writes `report/` into `workdir` and returns its files; raises `UserError` when it cannot be written.

    Args:
      results: the cells.
      judged: the cells of the discriminators, as `discriminators.load` gives them.
      measured: what they were made from and by (`measured.json`); of it only fingerprints and `efficiency` enter
        the tables.
      workdir: the benchmark's.
    """
    folder = workdir / "report"
    costs = efficiency.from_json(measured["efficiency"].get("costs", {}))
    sections, signed = _sections(results, judged, measured, costs), signature(results, measured)
    texts = {
        "scores.csv": tables.scores_csv(results),
        "differences.csv": tables.differences_csv(results),
        "report.md": _markdown(sections, signed),
        "report.tex": "\n".join(to_latex(table, [signed]) for section in sections for table in section.tables),
        "index.html": page.document("Benchmark", signed, _html(sections), measured),
    }
    if costs:
        texts[_EFFICIENCY] = efficiency.costs_csv(costs)
    shown = dict(section.picture for section in sections if section.picture)
    for name in {_EFFICIENCY, *_PLOTS} - {*texts, *shown}:
        (folder / name).unlink(missing_ok=True)  # of a former report
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, data in shown.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(data)
    write_json(folder / "manifest.json", measured)
    return [folder / name for name in (*texts, *shown, "manifest.json")]


def signature(results: Results, measured: Mapping[str, Any]) -> str:
    """Returns one line that says how and on what was measured: without it numbers cannot be compared."""
    data = measured["dataset"]
    return (
        f"faceflax {measured['faceflax']}; {data['name']} {data['split']} ({data['fingerprint']}), {data['images']} "
        f"images at {data['image_size']}x{data['image_size']}; degraded set {measured['degraded']['fingerprint']}; "
        f"{PROTOCOL}; seeds {', '.join(map(str, results.settings.seeds))}; config {measured['config']}; "
        f"commit {measured['commit'] or 'unknown'}"
    )


def _sections(
    results: Results, judged: Judged, measured: Mapping[str, Any], costs: Mapping[str, Efficiency]
) -> list[Section]:
    compare, by_metric = results.settings.compare, tables.by_metric(results)
    is_recognition = {name: name.startswith(_RECOGNITION) for name in by_metric}
    distortion = [table for name, table in by_metric.items() if name not in _PERCEPTION and not is_recognition[name]]
    perception = [by_metric[name] for name in _PERCEPTION if name in by_metric]
    recognition = [table for name, table in by_metric.items() if is_recognition[name]]
    findings = verdict.findings(results, costs, measured["runs"])
    in_loss = {arm: arms.in_loss(measured["runs"], arm) for arm in results.settings.arms}
    sections = []
    if findings:
        uses = verdict.guidance(results)
        shown = [verdict.to_table(findings, compare.cnn, compare.gan, in_loss[compare.gan]), uses]
        text = f"{verdict.about(results, measured['runs'])} {_HOW_DECIDED} {_how_many(uses)}"
        sections.append(Section("Verdict", text, shown))
    sections.append(Section("Arms", "", [arms.to_table(results, measured["runs"])]))
    sections.append(Section("Distortion", _how_marked(results), distortion))
    if perception:
        drawn = pictures.perception_distortion(results)
        text = "The plot: a panel for each kind of damage, a point for each severity and seed; better is down right."
        text = " ".join([*_trained_on(in_loss, [name for name in _PERCEPTION if name in by_metric]), text])
        sections.append(Section("Perception", text, perception, drawn and (_PLANE, drawn)))
    if recognition:
        trained_on = _trained_on(in_loss, [name for name in by_metric if is_recognition[name]])
        text = " ".join([*trained_on, _BEFORE_AND_AFTER, _how_marked(results)])
        sections.append(Section("Recognition", text, recognition))
    if judged:
        shown = discriminators.to_tables(results, judged)
        sections.append(Section("Discriminator", _DISCRIMINATOR, shown))
    if costs:
        sections.append(Section("Efficiency", "", [efficiency.to_table(costs)]))
    curve = tables.curve(results, settings_lib.curve_tasks(results.settings))
    if curve:
        sections.append(Section("Occlusion", "", [curve], (_CURVE, pictures.occlusion_curve(results))))
    between = tables.fidelity(results)
    if between:
        drawn = pictures.fidelity_curve(results)
        text = _fidelity(results, measured["runs"])
        sections.append(Section("Fidelity", text, [between], drawn and (_BETWEEN, drawn)))
    faces = encode_jpeg(pictures.faces(results), _FACES_QUALITY)
    return [*sections, Section("Faces", page.FIRST_IMAGES, [], ("faces.jpg", faces))]


_HOW_DECIDED = (
    "Decided by rule (faceflax/evaluation/benchmark/verdict.py): a claim holds, or does not, where the paired 95% "
    "bootstrap interval over images leaves 0 out and every training seed agrees; otherwise these numbers do not decide "
    "it. With fewer than three seeds it is decided for these trainings alone. Numbers are the mean difference, [its "
    "interval], and with several seeds (the least and most of their means). [In its loss]: the GAN was trained on what "
    "this metric sees, which a network can learn to please without looking better."
)
_BEFORE_AND_AFTER = (
    'Before restoration is the column "input": how many degraded faces still pass for the person of the clean one, at '
    "a threshold that lets so many pairs of different faces pass. Empty where there are too few pairs for the rate. "
    "Each set's threshold is taken as given: intervals hold nothing of how it might have fallen."
)
_DISCRIMINATOR = (
    "The probability that an image is real, given the degraded one: of held-out clean faces, and of what each arm of "
    "the same seed made of them. Pairs: the share of faces of which the clean image is the more probable one of it and "
    "its restoration. Right: over 0.5 for a clean face, at most 0.5 for a restored one. Accuracy: the mean of both "
    "shares; it asks for one threshold for all faces and damage, which a relativistic loss, that learns to compare, "
    "does not teach. Of a GAN the averaged generator is judged, against which its discriminator never trained. No "
    "other number of this report uses a discriminator."
)


def _trained_on(in_loss: Mapping[str, set[str]], metrics: list[str]) -> list[str]:
    """A sentence for each arm whose loss held what some of the metrics see."""
    seen = {arm: [METRICS[name].title for name in metrics if name in found] for arm, found in in_loss.items()}
    return [f"The loss of {arm} knows what these see: {'; '.join(titles)}." for arm, titles in seen.items() if titles]


def _fidelity(results: Results, runs: Mapping[str, Mapping[str, Any]]) -> str:
    chosen, seed = results.settings.fidelity, results.settings.seeds[0]
    found = budgets.since_common_start(runs, f"{chosen.cnn}-{seed}", f"{chosen.gan}-{seed}")
    is_start = found is not None and not found.first
    return f"Weights between {chosen.gan} (0) and {chosen.cnn} (1){', its start' if is_start else ''}; the first seed."


def _how_many(uses: Table) -> str:
    count = len(uses.rows) * (len(uses.header) - 1)
    return (
        f'"{uses.title}" makes {count} comparisons, each at 95% by itself: of arms that did not differ it would still '
        f"name one up to {max(1, round(0.05 * count))} time(s)."
    )


def _how_marked(results: Results) -> str:
    text = f"Means over seeds. {tables.NOT_SIGNIFICANT}: not told from {results.reference} by these numbers."
    if not results.settings.compare.gan:
        return text
    return text + (
        " The last column is the mean difference, [its paired 95% bootstrap interval over images], and with several "
        "seeds (the least and most of their means)."
    )


def _markdown(sections: list[Section], signed: str) -> str:
    parts = ["# Benchmark\n"]
    for section in sections:
        parts.append(f"## {section.title}\n")
        parts += [f"{section.text}\n"] if section.text else []
        parts += [to_markdown(table) for table in section.tables]
        parts += [f"![{section.title}]({section.picture[0]})\n"] if section.picture else []
    return "\n".join([*parts, f"{signed}\n"])


def _html(sections: list[Section]) -> str:
    parts = []
    for section in sections:
        parts.append(f"<h1>{html.escape(section.title)}</h1>\n")
        parts += [f"<p>{html.escape(section.text)}</p>\n"] if section.text else []
        parts += [page.table_html(table) for table in section.tables]
        if section.picture:
            name, data = section.picture
            source = page.embed_bytes(data, re.sub("jpg", "jpeg", name.rpartition(".")[2]))
            parts.append(f'<p><img class="figure" src="{source}" alt="{html.escape(section.title)}"></p>\n')
    return "".join(parts)
