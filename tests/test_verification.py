"""Rates and ranks against scipy's and against counting by hand."""

import numpy as np
import pytest
from scipy import stats

from faceflax.evaluation import judges
from faceflax.recognition import verification

PEOPLE, EACH = 12, 4
PERSON = np.repeat(np.arange(PEOPLE), EACH)


def _vectors(noise, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((PEOPLE, 16))[PERSON] + noise * rng.standard_normal((len(PERSON), 16))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _similarity(noise=1.2):
    vectors = _vectors(noise)
    return vectors @ vectors.T


def _split(similarity, person=PERSON):
    """Genuine scores and impostors, each pair once."""
    rows, columns = np.triu_indices(len(person), 1)
    scores, same = similarity[rows, columns], person[rows] == person[columns]
    return scores[same], np.sort(scores[~same])[::-1]


def test_pairs_are_those_of_different_photographs():
    once = verification.pairs(_similarity(), PERSON, once=True)
    assert len(once.place) == 48 * 47 // 2 and once.genuine.sum() == PEOPLE * 6
    both = verification.pairs(np.arange(48.0 * 48).reshape(48, 48), PERSON)
    assert len(both.place) == 48 * 47 and both.genuine.sum() == PEOPLE * 12
    assert both.place[-1] == 0 and both.place[0] == 48 * 47 - 1  # the last pair of the matrix has the highest score


@pytest.mark.parametrize("decimals", [1, 12])
def test_auc_is_the_rank_statistic(decimals):
    similarity = _similarity().round(decimals)
    genuine, impostor = _split(similarity)
    expected = stats.mannwhitneyu(genuine, impostor).statistic / (len(genuine) * len(impostor))
    assert 0.6 < expected < 0.999
    curve = verification.roc(verification.pairs(similarity, PERSON, once=True))
    assert verification.auc(curve) == pytest.approx(expected, abs=1e-12)


def test_rates_are_counts():
    genuine, impostor = _split(_similarity())
    curve = verification.roc(verification.pairs(_similarity(), PERSON, once=True))
    for far in (0.01, 0.05):
        expected = (genuine > impostor[int(far * len(impostor))]).mean()
        assert verification.tar_at_far(curve, far) == pytest.approx(expected)
    assert np.isnan(verification.tar_at_far(curve, 0.5 / len(impostor)))
    rate = verification.equal_error_rate(curve)
    threshold = np.quantile(impostor, 1 - rate)
    assert (genuine <= threshold).mean() == pytest.approx(rate, abs=0.02) and 0 < rate < 0.5


def test_it_agrees_with_the_judges_of_the_benchmark():
    clean, damaged = _vectors(0.9, 1)[::EACH], _vectors(0.9, 1)[1::EACH]
    first, second = np.indices((PEOPLE, PEOPLE)).reshape(2, -1)
    place = np.unique(-(clean @ damaged.T).ravel(), return_inverse=True)[1]
    curve = verification.roc(verification.Pairs(first == second, first, second, place))
    for far in (0.01, 0.05):
        expected = judges.verification(clean, damaged, far).mean()
        assert verification.tar_at_far(curve, far) == pytest.approx(expected)


def test_separated_people_are_perfect_and_equal_scores_are_chance():
    for similarity, area, tar, error in ((_similarity(0.0), 1, 1, 0), (np.zeros((48, 48)), 0.5, 0, 0.5)):
        curve = verification.roc(verification.pairs(similarity, PERSON, once=True))
        assert verification.auc(curve) == pytest.approx(area) and verification.tar_at_far(curve, 0.01) == tar
        assert verification.equal_error_rate(curve) == pytest.approx(error)


def test_ranks():
    gallery, probe = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    similarity = np.array([[0.9, 0.1, 0.2, 0.5], [0.1, 0.2, 0.3, 0.0], [0.0, 0.8, 0.1, 0.0], [0.2, 0.3, 0.25, 0.5]])
    np.testing.assert_array_equal(verification.found_within(similarity, gallery, probe), [1, 1, 0, 0])
    np.testing.assert_array_equal(verification.found_within(similarity, gallery, probe, 2), [1, 1, 1, 1])


def test_a_draw_of_people_is_the_statistic_of_their_photographs():
    """Weights give what copying the drawn people's photographs gives."""
    similarity = _similarity()
    times = np.random.default_rng(3).multinomial(PEOPLE, np.full(PEOPLE, 1 / PEOPLE))
    copies = np.repeat(np.arange(PEOPLE), times)
    rows = [np.flatnonzero(person == PERSON) for person in copies]
    genuine, impostor = [], []
    for i in range(len(copies)):
        genuine += [similarity[a, b] for a in rows[i] for b in rows[i] if a < b]
        for j in range(i + 1, len(copies)):
            if copies[i] != copies[j]:
                impostor += [similarity[a, b] for a in rows[i] for b in rows[j]]
    expected = stats.mannwhitneyu(genuine, impostor).statistic / (len(genuine) * len(impostor))
    drawn = verification.roc(verification.pairs(similarity, PERSON, once=True), times.astype(float))
    assert verification.auc(drawn) == pytest.approx(expected, abs=1e-12)
    assert drawn.impostors == len(impostor)


def test_intervals_are_over_people():
    found = (np.arange(len(PERSON)) % 5 > 0).astype(float)
    compared = verification.pairs(_similarity(), PERSON, once=True)

    def statistics(times):
        rates = verification.tar_at_far(verification.roc(compared, times), 0.01)
        return np.array([verification.accuracy(found, PERSON, times), rates, np.nan])

    share, tar, nothing = verification.over_people(statistics, PEOPLE, resamples=200)
    assert share.mean == pytest.approx(found.mean()) and share.low < share.mean < share.high
    assert tar.low < tar.mean < tar.high and tar.high - tar.low > 0.03
    assert np.isnan(nothing).all()
    # Of people who are each found always or never, the interval is that of the people, not of their photographs.
    always = (np.arange(PEOPLE) % 2)[PERSON].astype(float)
    (interval,) = verification.over_people(
        lambda times: np.array([verification.accuracy(always, PERSON, times)]), PEOPLE
    )
    assert interval.high - interval.low > 1.5 * (1.96 * 2 * 0.5 / np.sqrt(len(PERSON)))


@pytest.mark.parametrize("times", [None, np.random.default_rng(5).integers(0, 4, PEOPLE)])
def test_identification_in_an_open_set_is_counting(times):
    """Every search written out, one after the other; who counts several times is searched for several times."""
    similarity, fpir = _similarity(1.6).round(2), 0.05  # many are equal
    weights = np.ones(PEOPLE, int) if times is None else times
    strangers, members = [], []
    for half in (0, 1):
        enrolled = {person: EACH * person for person in range(PEOPLE) if person % 2 == half}
        for photograph in sorted(set(range(len(PERSON))) - set(enrolled.values())):
            scores = {person: similarity[place, photograph] for person, place in enrolled.items()}
            own = scores.pop(PERSON[photograph], None)
            search = (max(scores.values()) if own is None else own, own is None or own > max(scores.values()))
            (strangers if own is None else members).extend([search] * weights[PERSON[photograph]])
    threshold = sorted((score for score, _ in strangers), reverse=True)[int(fpir * len(strangers))]
    missed = np.mean([not (is_first and score > threshold) for score, is_first in members])
    made = verification.searches(similarity, PERSON)
    rate, at = verification.fnir_at_fpir(made, fpir, None if times is None else times.astype(float))
    assert rate == pytest.approx(missed) and 0.1 < rate < 0.9
    assert np.mean([score > at for score, _ in strangers]) == np.mean([score > threshold for score, _ in strangers])
    assert np.mean([not (is_first and score > at) for score, is_first in members]) == pytest.approx(missed)
    assert np.isnan(verification.fnir_at_fpir(made, 0.5 / len(strangers))).all()


def test_separated_people_are_all_found_and_no_stranger_is():
    similarity = np.where(PERSON[:, None] == PERSON, 0.9, 0.1)
    assert verification.fnir_at_fpir(verification.searches(similarity, PERSON), 0.05) == (0.0, pytest.approx(0.1))


def test_who_scores_as_another_is_not_found():
    """The first and the third person are enrolled together, and a photograph of the first scores for both alike."""
    person = np.array([0, 0, 1, 1, 2, 2])
    similarity = np.zeros((6, 6))
    similarity[0, 1], similarity[4, 1] = 0.5, 0.5
    similarity[4, 5], similarity[0, 5] = 0.5, 0.4
    similarity[2, 3] = 0.3
    made = verification.searches(similarity, person)
    best = made.scores[made.place]
    assert {int(who): best[made.mated & (made.person == who)].tolist() for who in range(3)} == {
        0: [-np.inf],
        1: [0.3],
        2: [0.5],
    }


@pytest.mark.parametrize("fpir", [-0.01, 1.0, np.nan])
def test_what_is_no_rate_of_false_names_is_refused(fpir):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        verification.fnir_at_fpir(verification.searches(_similarity(), PERSON), fpir)
