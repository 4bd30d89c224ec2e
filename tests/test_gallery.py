"""The gallery: what is enrolled is found, embedded and behind a server."""

import dataclasses

import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.recognition import indexes, owners, records, store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, collections_of, names_and_scores, record, unit_vectors


def test_search_agrees_with_brute_force_before_and_after_opening_again(uri):
    vectors, queries = unit_vectors(300), unit_vectors(20, seed=1)
    enrolled = [record(f"person {i // 3}", str(i)) for i in range(300)]
    cosines = queries @ vectors.T
    expected = [
        [(enrolled[i].name, round(float(row[i]), 5)) for i in np.argsort(-row)[:7]] for row in cosines.astype(float)
    ]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, enrolled, vectors)
        found = [names_and_scores(each) for each in gallery.search(queries, 7)]
    with store.connect(uri) as opened:
        again = [names_and_scores(each) for each in Gallery(opened).search(queries, 7)]
        kept = sorted(Gallery(opened).records(), key=lambda each: int(each.sources[0]))
    for answers in (found, again):
        assert [[name for name, _ in each] for each in answers] == [[name for name, _ in each] for each in expected]
        np.testing.assert_allclose(
            [[score for _, score in each] for each in answers],
            [[score for _, score in each] for each in expected],
            atol=2e-5,
        )
    assert kept == enrolled


def test_people_are_found_whatever_number_of_photographs_they_have(uri):
    near, far = unit_vectors(2)
    crowd = near + 0.01 * unit_vectors(200, seed=3)
    vectors = np.concatenate([crowd / np.linalg.norm(crowd, axis=1, keepdims=True), [far, -near]])
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        people = [*["Ann"] * 200, "Bob", "Eve"]
        gallery.add(ENCODER, [record(name, str(i)) for i, name in enumerate(people)], vectors)
        (found,) = gallery.search_people(near[None], 2)
        assert [match.record.name for match in found] == ["Ann", "Bob"]
        assert found[0].score == pytest.approx(np.max(vectors @ near), abs=1e-5)


def test_no_more_is_asked_for_than_there_are_people(uri, monkeypatch):
    """Where fewer people are enrolled than named, one has many photographs, and two lie behind all of these."""
    near, far = unit_vectors(2)
    crowd = near + 0.01 * unit_vectors(300, seed=3)
    vectors = np.concatenate([crowd / np.linalg.norm(crowd, axis=1, keepdims=True), [-near, far]])
    people = ["Ann"] * 300 + ['O"Hara', "Bob"]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record(name, str(i)) for i, name in enumerate(people)], vectors)
        limits = []
        call = opened.call

        def counted(method, *arguments, **options):
            limits.extend([options["limit"]] if method == "search" else [])
            return call(method, *arguments, **options)

        monkeypatch.setattr(opened, "call", counted)
        queries = np.stack([near, far])
        for found in gallery.search_people(queries, 5), gallery.search_people(queries, 3):
            for query, matches in zip(queries, found, strict=True):
                expected = {
                    name: max(float(v @ query) for v, n in zip(vectors, people, strict=True) if n == name)
                    for name in set(people)
                }
                assert [match.record.name for match in matches] == sorted(expected, key=expected.get, reverse=True)
                np.testing.assert_allclose(
                    [m.score for m in matches], sorted(expected.values(), reverse=True), atol=2e-5
                )
        assert limits == [20, 80, 320, 12, 48, 192, 768]
        some = records.condition(["Ann", "Bob"])
        assert {match.record.name for match in gallery.search_people(near[None], 5, some)[0]} == {"Ann", "Bob"}


@pytest.mark.parametrize("name", ['O"Hara', "back\\slash", "Zoë 😀", "' or 1 == 1 or '", "می‌خواهم", "a and b", "%"])
def test_conditions_choose_exactly(tmp_path, name):
    with store.connect(str(tmp_path / "faces.db"), create=True) as opened:
        gallery = Gallery(opened)
        people = [
            record(name, "1", metadata={"site": name}),
            record("Bob", "2", consent="by letter"),
            record("Eve", "3"),
        ]
        gallery.add(ENCODER, people, unit_vectors(3))
        chosen = lambda *arguments, **options: [  # noqa: E731
            each.name for each in gallery.records(records.condition(*arguments, **options))
        ]
        assert chosen([name]) == [name]
        assert chosen(where={"site": name}) == [name]
        assert chosen(where={"consent": "by letter"}) == ["Bob"]
        assert sorted(chosen([name, "Eve"])) == sorted([name, "Eve"])
        assert chosen([name], {"site": "elsewhere"}) == []
        assert (
            gallery.search(unit_vectors(1, seed=5), 9, records.condition(where={"site": name}))[0][0].record.name
            == name
        )
        assert gallery.delete(records.condition([name])) == 1
        assert sorted(each.name for each in gallery.records()) == ["Bob", "Eve"]


def test_a_photograph_enrolled_again_takes_its_record_s_place(uri):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        for consent, vector in zip(("none yet", "signed"), unit_vectors(2), strict=True):
            gallery.add(ENCODER, [record("Ann", consent=consent)], vector[None])
        assert [each.consent for each in gallery.records()] == ["signed"]
        (found,) = gallery.search(unit_vectors(2)[1:], 5)
        assert names_and_scores(found) == [("Ann", 1.0)]


def test_photographs_are_found_under_all_names(uri, monkeypatch):
    digests = [f"{number:064x}" for number in range(300)]
    people = [record(f"p{i}", digest) for i, digest in enumerate(digests[:150])]
    people += [record("Ann", sources=(*digests[148:152], digests[7]), is_average=True)]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        assert gallery.owners(set(digests)) == {}
        gallery.add(ENCODER, people, unit_vectors(len(people)))
        expected = {digest: {each.name for each in people if digest in each.sources} for digest in digests}
        monkeypatch.setattr(owners, "FEW", 10_000)
        for is_lite in (True, False):  # the condition for milvus-lite, and the one for Milvus
            monkeypatch.setattr(opened, "is_lite", is_lite)
            found = gallery.owners(set(digests[5:200]))
            assert {digest: found.get(digest, set()) for digest in digests[5:200]} == {
                digest: expected[digest] for digest in digests[5:200]
            }


def test_who_has_which_photographs_is_read_once_and_kept_up_to_date(tmp_path, monkeypatch):
    monkeypatch.setattr(owners, "FEW", 3)
    vectors, everything = unit_vectors(4), set("abcdef")
    average = record("Bob", sources=("b", "c"), is_average=True)
    with store.connect(str(tmp_path / "faces.db"), create=True) as opened:
        gallery, asked = Gallery(opened), []
        gallery.add(ENCODER, [record("Ann", "a"), average], vectors[:2])
        call = opened.call

        def noted(method, *arguments, **options):
            asked.append(method)
            return call(method, *arguments, **options)

        monkeypatch.setattr(opened, "call", noted)
        assert gallery.owners({"a", "d"}) == {"a": {"Ann"}} and asked.pop() == "query"
        assert gallery.owners({"c", "d"}) == {"c": {"Bob"}} and "query_iterator" in asked
        asked.clear()
        gallery.add(ENCODER, [record("Zoe", "d"), record("Ann", "e")], vectors[2:])
        gallery.add(ENCODER, [record("Ann", "e", consent="signed")], vectors[3:], replaces=True)
        assert gallery.owners(everything) == {"a": {"Ann"}, "b": {"Bob"}, "c": {"Bob"}, "d": {"Zoe"}, "e": {"Ann"}}
        assert "query_iterator" not in asked and "query" not in asked
        gallery.add(ENCODER, [dataclasses.replace(average, sources=("b",))], vectors[:1], replaces=True)
        assert gallery.owners(everything) == {"a": {"Ann"}, "b": {"Bob"}, "d": {"Zoe"}, "e": {"Ann"}}
        gallery.update(records.condition(["Zoe"]), lambda each: dataclasses.replace(each, name="Eve"))
        assert gallery.owners({"d"}) == {"d": {"Eve"}}
        gallery.delete(records.condition(["Ann"]))
        assert gallery.owners(everything) == {"b": {"Bob"}, "d": {"Eve"}}


@pytest.mark.parametrize("changes", [{"name": "other"}, {"version": "11111111"}])
def test_vectors_of_two_encoders_do_not_mix(uri, changes):
    other = dataclasses.replace(ENCODER, **changes)
    with store.connect(uri, create=True) as opened:
        Gallery(opened).add(ENCODER, [record("Ann")], unit_vectors(1))
        gallery = Gallery(opened)
        for use in (lambda: gallery.check(other), lambda: gallery.add(other, [record("Bob")], unit_vectors(1))):
            with pytest.raises(
                UserError, match=r"holds vectors of invented \(version 00c0ffee\), which cannot be comp"
            ):
                use()
        assert [each.name for each in gallery.records()] == ["Ann"]


@pytest.mark.slow
def test_a_large_gallery_is_searched_by_a_graph(uri, monkeypatch):
    monkeypatch.setattr(indexes, "EXACT_BELOW", 1000)
    vectors = unit_vectors(1200)
    people = [record(f"p{i}", str(i)) for i in range(1200)]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, people[:900], vectors[:900])
        gallery.settle()
        assert gallery.index == "FLAT"
        gallery.add(ENCODER, people[900:], vectors[900:])
        gallery.settle()
        assert gallery.index == "HNSW"
    with store.connect(uri) as opened:
        gallery = Gallery(opened)
        queries = unit_vectors(50, seed=2)
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
        found = [{int(match.record.name[1:]) for match in each} for each in gallery.search(queries, 10)]
        recall = np.mean([len(set(row) & each) / 10 for row, each in zip(exact.tolist(), found, strict=True)])
        assert recall > 0.95
        assert gallery.delete(records.condition(["p3"])) == 1
        assert gallery.index == "HNSW" and gallery.count() == 1199


def test_who_fulfils_a_condition_is_found_whatever_the_index(uri, monkeypatch):
    """A graph would lead past the few who fulfil it."""
    monkeypatch.setattr(indexes, "EXACT_BELOW", 100)
    monkeypatch.setattr(indexes, "GRAPH", indexes.Index("HNSW", {"M": 4, "efConstruction": 8}, {"ef": 8}))
    vectors, queries = unit_vectors(600), unit_vectors(8, seed=2)
    chosen = np.arange(0, 600, 40)
    enrolled = [record(f"p{i // 2}", str(i), metadata={"site": "north"} if i in chosen else {}) for i in range(600)]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, enrolled, vectors)
        gallery.settle()
        assert gallery.index == "HNSW"
        cosines = queries @ vectors[chosen].T
        for row, matches in zip(cosines, gallery.search(queries, 5, 'metadata["site"] == "north"'), strict=True):
            expected = [int(chosen[i]) for i in np.argsort(-row)[:5]]
            assert [int(match.record.sources[0]) for match in matches] == expected
            np.testing.assert_allclose([match.score for match in matches], np.sort(row)[::-1][:5], atol=2e-5)
        people = gallery.search_people(queries, 400)  # everybody, the nearest record of each
        best = (queries @ vectors.T).reshape(8, 300, 2).max(-1)
        for row, matches in zip(best, people, strict=True):
            assert [match.record.name for match in matches] == [f"p{i}" for i in np.argsort(-row)]


def test_an_empty_gallery_takes_another_encoder(uri):
    other = dataclasses.replace(ENCODER, name="other", size=24)
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        gallery.delete(records.condition(["Ann"]))
        assert gallery.encoder is None
        gallery.add(other, [record("Bob", encoder="other")], unit_vectors(1, 24))
        assert gallery.encoder == "other" and len(collections_of(opened)) == 1
    with store.connect(uri) as opened:
        assert names_and_scores(Gallery(opened).search(unit_vectors(1, 24), 2)[0]) == [("Bob", 1.0)]


def test_an_empty_gallery_answers(uri):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        assert gallery.encoder is None and gallery.count() == 0 and gallery.delete("") == 0
        assert list(gallery.records()) == [] and gallery.search_people(unit_vectors(2), 3) == [[], []]
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        assert gallery.delete(records.condition(["Ann"])) == 1
        assert gallery.count() == 0 and gallery.search_people(unit_vectors(2), 3) == [[], []]


def test_names_that_cannot_be_kept_are_refused():
    for name in ("", "  ", "a\nb", "a\0b", "\udcff", "x" * 257):
        with pytest.raises(UserError):
            records.check_name(name)
    assert records.check_name("می‌خواهم Zoë") == "می‌خواهم Zoë"
    assert records.check_name(" Zoe\N{COMBINING DIAERESIS}  ") == "Zoë"
    with pytest.raises(UserError, match="--set name=... is no metadata but the record's own; pass --name"):
        records.parse_metadata(["name=Ann"])
    with pytest.raises(UserError, match=r"--set 'site' is not KEY=VALUE"):
        records.parse_pairs("--set", ["site"])
