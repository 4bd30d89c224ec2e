"""Whether what is said of CNNs and GANs holds in a benchmark's numbers: claim by claim, decided by rule.

A claim "holds" when the difference is significant (`Difference.is_significant`) and on the claimed side, "does not
hold" when it is significant and on the other side, and is "not decided" by these numbers otherwise.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark import tables
from faceflax.evaluation.benchmark.analysis import METRICS, Difference, Results
from faceflax.evaluation.benchmark.efficiency import Efficiency
from faceflax.evaluation.statistics import bootstrap
from faceflax.evaluation.tables import Table

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided by these numbers"
MARGIN = 1.05
"""Costs that differ by less than this factor count as equal."""

_LIGHT = "CNNs are more accurate on light damage"
_OCCLUSION = "GANs are better on large occlusions"
_REALISM = "GANs look more real"
_EFFICIENCY = "CNNs are more efficient"
_GUIDANCE = "the CNN for light damage, the GAN for large occlusions and where looks count"
# What must hold for the guidance to hold: the first measure of each claim about quality.
_GUIDED_BY = {(_LIGHT, "psnr"), (_OCCLUSION, "identity"), (_OCCLUSION, "perceptual"), (_REALISM, "perceptual")}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One claim, by one measure: where it was measured, the number behind the verdict, and the verdict."""

    claim: str
    metric: str
    on: str
    number: str
    verdict: str


def decide(found: Difference | None, better: int) -> str:
    """Whether the first of two arms is the better one; `better` is 1 when more is better, -1 when less is."""
    if found is None or np.isnan(found.low) or not found.is_significant:
        return OPEN
    return HOLDS if better * found.mean > 0 else FAILS


def decide_costs(ratios: np.ndarray) -> tuple[str, str]:
    """Whether the second of two arms costs more than the first: the verdict, and the number behind it.

    `ratios` are its costs by those of the first, one a round of timing (or one, of costs that do not vary). Their
    geometric mean has a bootstrap interval over the rounds; all of it must lie beyond `MARGIN`.
    """
    mean, low, high = np.exp(bootstrap(np.log(ratios)))
    text = f"{mean:.2f} times" + (f" [{low:.2f}, {high:.2f}]" if len(ratios) > 1 else "")
    if low > MARGIN:
        return HOLDS, text
    return (FAILS if high <= MARGIN else OPEN), text


def findings(results: Results, efficiency: Mapping[str, Efficiency]) -> list[Finding]:
    """Returns the verdicts on the two arms of `config.compare`; empty when there are none to compare."""
    if not results.settings.compare.gan:
        return []
    light = [task for task in results.tasks if settings_lib.is_light(task)]
    covered = [task for task in results.tasks if settings_lib.is_large_occlusion(task)]
    found = _by_quality(results, _LIGHT, light, ("psnr", "ssim"), "cnn")
    found += _by_quality(results, _OCCLUSION, covered, ("identity", "perceptual", "kid", "hole_psnr"), "gan")
    found += _by_quality(results, _REALISM, results.tasks, ("perceptual", "kid"), "gan")
    found += _by_costs(results, efficiency)
    return [*found, _guidance(found)]


def _by_quality(
    results: Results, claim: str, tasks: Sequence[Task], metrics: Sequence[str], favoured: str
) -> list[Finding]:
    compare = results.settings.compare
    found = []
    for metric in metrics:
        if metric not in results.metrics:
            found.append(Finding(claim, METRICS[metric].title, "", "not measured", OPEN))
            continue
        difference = results.difference(compare.gan, compare.cnn, tasks, metric) if tasks else None
        sign = METRICS[metric].better if favoured == "gan" else -METRICS[metric].better
        number = tables.interval(metric, difference) or "not measured"
        found.append(Finding(claim, METRICS[metric].title, _names(tasks), number, decide(difference, sign)))
    return found


def _by_costs(results: Results, efficiency: Mapping[str, Efficiency]) -> list[Finding]:
    compare = results.settings.compare
    if not efficiency:
        return [Finding(_EFFICIENCY, "time of training and restoring", "", "not measured", OPEN)]
    cnn, gan = efficiency[compare.cnn], efficiency[compare.gan]
    measures = {
        "time of training, by image": np.array(gan.train_seconds) / np.array(cnn.train_seconds),
        "XLA FLOPs of training, by image": np.array([gan.train_flops / cnn.train_flops]),
        "time of restoring, by image": np.array(gan.restore_seconds) / np.array(cnn.restore_seconds),
    }
    found = []
    for name, ratios in measures.items():
        verdict, number = decide_costs(ratios)
        found.append(Finding(_EFFICIENCY, name, f"{compare.gan} against {compare.cnn}", number, verdict))
    return found


def _guidance(found: Sequence[Finding]) -> Finding:
    titles = {(claim, METRICS[metric].title) for claim, metric in _GUIDED_BY}
    verdicts = {each.verdict for each in found if (each.claim, each.metric) in titles}
    verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else OPEN
    return Finding(_GUIDANCE, "the first measures of the claims about quality above", "", "", verdict)


def _names(tasks: Sequence[Task]) -> str:
    return ", ".join(map(str, tasks)) if len(tasks) <= 4 else f"{len(tasks)} tasks"


def to_table(found: Sequence[Finding], cnn: str, gan: str) -> Table:
    """Returns the verdicts as a table."""
    header = ["claim", "by", "on", f"{gan} minus {cnn}, or its costs by those of {cnn}", "verdict"]
    rows = [[each.claim, each.metric, each.on, each.number, each.verdict] for each in found]
    return Table("Do the claims hold?", header, rows)


def guidance(results: Results) -> Table | None:
    """Returns which of the two arms to use for each task: by accuracy, looks and identity; None without a comparison.

    An arm is named where its lead is significant; "either" stands where these numbers tell no difference.
    """
    compare = results.settings.compare
    if not compare.gan:
        return None
    uses = {"psnr": "for accuracy", "perceptual": "for looks", "identity": "for identity"}
    uses = {metric: title for metric, title in uses.items() if metric in results.metrics}

    def choose(task: Task, metric: str) -> str:
        difference = results.difference(compare.gan, compare.cnn, [task], metric)
        return {HOLDS: compare.gan, FAILS: compare.cnn, OPEN: "either"}[decide(difference, METRICS[metric].better)]

    rows = [[str(task), *(choose(task, metric) for metric in uses)] for task in results.tasks]
    return Table("Which to use when", ["task", *uses.values()], rows)
