"""Whether what is said of CNNs and GANs holds in a benchmark's numbers: claim by claim, decided by rule.

A claim "holds" when the difference is significant (`Difference.is_significant`) and on the claimed side, "does not
hold" when it is significant and on the other side, and is "not decided" by these numbers otherwise. With fewer than
`ENOUGH_SEEDS` seeds it does so "for these trainings": what other seeds would have given is not known.
"""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import arms, budgets, tables
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.analysis import METRICS, Difference, Results
from faceflax.evaluation.benchmark.efficiency import Efficiency
from faceflax.evaluation.statistics import bootstrap
from faceflax.evaluation.tables import Table

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided by these numbers"
SAME = "same network"
ENOUGH_SEEDS = 3
MARGIN = 1.05
"""Costs that differ by less than this factor count as equal."""

_LIGHT = "CNNs are more accurate on light damage"
_OCCLUSION = "GANs are better on large occlusions"
_REALISM = "GANs look more real"
_DISCRIMINATOR = "the discriminator by itself adds to looks and likeness"
_EFFICIENCY = "CNNs are more efficient"
_GUIDANCE = "the CNN for light damage, the GAN for large occlusions and where looks count"
_RESTORING = "time of restoring, by image"
# What decides each use, best first: a judge that no loss knows stands before one that a loss may contain.
_ACCURACY, _IDENTITY, _LOOKS = ("psnr",), ("identity_dlib", "identity"), ("kid", "perceptual")
# What must hold for the guidance to hold.
_GUIDED_BY = ((_LIGHT, _ACCURACY), (_OCCLUSION, _IDENTITY), (_OCCLUSION, _LOOKS), (_REALISM, _LOOKS))


@dataclasses.dataclass(frozen=True)
class Finding:
    """One claim, by one metric or cost: where it was measured, the number behind the verdict, and the verdict."""

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


def findings(
    results: Results, efficiency: Mapping[str, Efficiency], runs: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    """Returns the verdicts on the two arms of `config.compare`; empty when there are none to compare.

    `runs` are those of `measured.json`, by name.
    """
    if not results.settings.compare.gan:
        return []
    light = [task for task in results.tasks if settings_lib.is_light(task)]
    covered = [task for task in results.tasks if settings_lib.is_large_occlusion(task)]
    identity = [name for name in _IDENTITY if name in (*results.metrics, "identity")]  # the other is an extra
    quality = _by_quality(results, _LIGHT, light, (*_ACCURACY, "ssim"), "cnn")
    quality += _by_quality(results, _OCCLUSION, covered, (*identity, *_LOOKS, "hole_psnr"), "gan")
    quality += _by_quality(results, _REALISM, results.tasks, _LOOKS, "gan")
    guidance = _guidance(results, quality)
    twin = arms.without_discriminator(runs, results.settings.compare.gan)
    if twin not in ("", results.settings.compare.cnn):
        claim = f"{_DISCRIMINATOR} ({results.settings.compare.gan} minus {twin})"
        quality += _by_quality(results, claim, results.tasks, (*_LOOKS, *identity), "gan", twin)
    if len(results.settings.seeds) < ENOUGH_SEEDS:
        *quality, guidance = (_of_these_trainings(each) for each in (*quality, guidance))
    return [*quality, *_by_costs(results, efficiency, runs), guidance]


def _by_quality(
    results: Results, claim: str, tasks: Sequence[Task], metrics: Sequence[str], favoured: str, other: str = ""
) -> list[Finding]:
    """The claim by each metric, from the GAN minus `other` ("": the CNN)."""
    compare = results.settings.compare
    found = []
    for metric in metrics:
        if metric not in results.metrics:
            found.append(Finding(claim, metric, "", "not measured", OPEN))
            continue
        difference = results.difference(compare.gan, other or compare.cnn, tasks, metric) if tasks else None
        sign = METRICS[metric].better if favoured == "gan" else -METRICS[metric].better
        number = tables.interval(metric, difference) or "not measured"
        found.append(Finding(claim, metric, _names(tasks), number, decide(difference, sign)))
    return found


def _of_these_trainings(found: Finding) -> Finding:
    is_decided = found.verdict in (HOLDS, FAILS)
    return dataclasses.replace(found, verdict=f"{found.verdict} for these trainings") if is_decided else found


def _by_costs(
    results: Results, efficiency: Mapping[str, Efficiency], runs: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    compare = results.settings.compare
    if not efficiency:
        return [Finding(_EFFICIENCY, "time of training and restoring", "", "not measured", OPEN)]
    cnn, gan = efficiency[compare.cnn], efficiency[compare.gan]
    measures = {
        "time of training, by image": np.array(gan.train_seconds) / np.array(cnn.train_seconds),
        "XLA FLOPs of training, by image": np.array([gan.train_flops / cnn.train_flops]),
        _RESTORING: np.array(gan.restore_seconds) / np.array(cnn.restore_seconds),
    }
    first, second = (runs[results.methods(arm)[0]]["model"] for arm in (compare.cnn, compare.gan))
    found = []
    for name, ratios in measures.items():
        verdict, number = decide_costs(ratios)
        verdict = SAME if name == _RESTORING and first == second else verdict
        found.append(Finding(_EFFICIENCY, name, f"{compare.gan} against {compare.cnn}", number, verdict))
    return found


def _guidance(results: Results, found: Sequence[Finding]) -> Finding:
    verdict_by = {(each.claim, each.metric): each.verdict for each in found}
    used = [(claim, _best(results, measures)) for claim, measures in _GUIDED_BY]
    verdicts, names = {verdict_by[each] for each in used}, dict.fromkeys(metric for _, metric in used)
    verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else OPEN
    return Finding(_GUIDANCE, f"the claims about quality above, by {', '.join(names)}", "", "", verdict)


def _best(results: Results, measures: Sequence[str]) -> str:
    """The first of `measures` that was measured; the last when none was."""
    return next((name for name in measures if name in results.metrics), measures[-1])


def _names(tasks: Sequence[Task]) -> str:
    return ", ".join(map(str, tasks)) if len(tasks) <= 4 else f"{len(tasks)} tasks"


def to_table(found: Sequence[Finding], cnn: str, gan: str, in_loss: Container[str]) -> Table:
    """Returns the verdicts as a table; it says of the metrics `in_loss` that the GAN was trained on them."""
    header = ["claim", "by", "on", f"{gan} minus {cnn}, or its costs by those of {cnn}", "verdict"]

    def title(metric: str) -> str:
        named = METRICS[metric].title if metric in METRICS else metric
        return f"{named} [in its loss]" if metric in in_loss else named

    rows = [[each.claim, title(each.metric), each.on, each.number, each.verdict] for each in found]
    return Table("Do the claims hold?", header, rows)


def about(results: Results, runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Says what the two arms differ in besides the discriminator, by `runs` of `measured.json`: budgets and losses."""
    return f"{_budgets(results, runs)} {_losses(results, runs)}".strip()


def _budgets(results: Results, runs: Mapping[str, Mapping[str, Any]]) -> str:
    cnn, gan = results.settings.compare.cnn, results.settings.compare.gan
    pairs = zip(results.methods(cnn), results.methods(gan), strict=True)
    found = [budgets.since_common_start(runs, *pair) for pair in pairs]
    if None in found:
        return f"Whether {cnn} and {gan} had equal budgets is not known: no network is known that both started from."
    unequal = [each for each in found if each.first != each.second]
    if unequal:
        return (
            f"The budgets are not equal: since their common start {cnn} has been trained on {unequal[0].first} images "
            f"and {gan} on {unequal[0].second}, so that this compares these networks, not two ways of training."
        )
    images = " or ".join(dict.fromkeys(str(each.first) for each in found))
    return f"Since their common start {cnn} and {gan} have each been trained on {images} images."


def _losses(results: Results, runs: Mapping[str, Mapping[str, Any]]) -> str:
    cnn, gan = results.settings.compare.cnn, results.settings.compare.gan
    first, second = (runs[results.methods(arm)[0]]["loss"] for arm in (cnn, gan))
    if first == second:
        return ""
    twin = arms.without_discriminator(runs, gan)
    if twin:
        return f"They differ in their other losses too; what the discriminator adds by itself is {gan} minus {twin}."
    return (
        f"They differ in their other losses too, and no arm here was trained as {gan} without a discriminator: what "
        "that adds by itself these numbers do not tell."
    )


def guidance(results: Results) -> Table:
    """Returns which of the two arms of `config.compare` to use for each task: by accuracy, looks and identity.

    An arm is named where its lead is significant; "either" stands where these numbers tell no difference.
    """
    compare = results.settings.compare
    uses = {"accuracy": _ACCURACY, "looks": _LOOKS, "identity": _IDENTITY}
    uses = {use: _best(results, measures) for use, measures in uses.items()}
    uses = {f"for {use} (by {metric})": metric for use, metric in uses.items() if metric in results.metrics}

    def choose(task: Task, metric: str) -> str:
        difference = results.difference(compare.gan, compare.cnn, [task], metric)
        return {HOLDS: compare.gan, FAILS: compare.cnn, OPEN: "either"}[decide(difference, METRICS[metric].better)]

    rows = [[str(task), *(choose(task, metric) for metric in uses.values())] for task in results.tasks]
    return Table("Which to use when", ["task", *uses], rows)
