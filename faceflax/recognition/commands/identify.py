"""What `faceflax identify` does."""

import argparse
import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import inputs
from faceflax.recognition import records
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery, Match


def run(arguments: argparse.Namespace) -> int:
    """Says who is on the photographs that the arguments name; returns 0, or 1 when some could not be read.

    Raises `UserError` when nobody can be identified at all: no gallery, an empty one, no threshold.
    """
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top} is not a number of people; make it 1 or more")
    session.check(arguments)
    condition = records.condition(where=records.parse_pairs("--where", arguments.where))
    files, sentences = inputs.list_images([Path(name) for name in arguments.inputs])
    failures = session.Failures(sentences)
    if not files:
        return 1
    with session.open_gallery(arguments.gallery) as gallery:
        if not gallery.count(condition):
            wanted = " that --where asks for" if condition else ""
            raise UserError(f"the gallery {arguments.gallery} holds nobody{wanted}; enrol people with faceflax enroll")
        encoder = session.choose_encoder(gallery, arguments.encoder)
        threshold, _ = session.choose_threshold(arguments, encoder)
        embedder = session.create_embedder(encoder, arguments, every=True)
        paths = list(dict.fromkeys(path for path, _ in files))
        faces = [face for batch in session.embed(embedder, paths, failures, "identifying") for face in batch]
        vectors = session.stack(faces, encoder.size)
        found = collections.defaultdict(list)
        for face, matches in zip(faces, _rank(gallery, arguments.by, vectors, arguments.top, condition), strict=True):
            found[face.path].append((face.box, matches))
    for path in paths:
        for box, matches in found[path]:
            _print(path, box, matches, threshold, is_one=len(found[path]) == 1, as_json=arguments.json)
        if arguments.json and not found[path]:
            session.print_json(file=str(path), error=failures.by_path.get(path, ""))
    return 1 if failures.count else 0


def _rank(gallery: Gallery, by: str, vectors: np.ndarray, top: int, condition: str) -> list[list[Match]]:
    """Returns for each vector [N, D] up to `top` people, the likeliest first, with their nearest records."""
    if by == "nearest":
        return gallery.search_people(vectors, top, condition)
    from faceflax.recognition import classifier

    likeliest = classifier.fit(*classifier.training_set(gallery, condition)).likeliest(vectors, top)
    nearest = {}  # by query and person
    for name in dict.fromkeys(name for names in likeliest for name in names):
        queries = [query for query, names in enumerate(likeliest) if name in names]
        found = gallery.search(vectors[queries], 1, records.both(condition, [name]))
        nearest |= {(query, name): matches for query, matches in zip(queries, found, strict=True)}
    return [[match for name in names for match in nearest[query, name]] for query, names in enumerate(likeliest)]


def _print(
    path: Path, box: Sequence[int] | None, matches: Sequence[Match], threshold: float, *, is_one: bool, as_json: bool
) -> None:
    name = matches[0].record.name if matches and matches[0].score > threshold else None
    if as_json:
        people = [{"name": match.record.name, "score": round(match.score, 6)} for match in matches]
        session.print_json(file=str(path), box=box, name=name, threshold=threshold, people=people)
        return
    place = "" if is_one else f", face at {box[0]},{box[1]} to {box[2]},{box[3]}"
    scores = ", ".join(f"{match.record.name} {match.score:.4f}" for match in matches) or "nobody"
    session.say(f"{path}{place}: {name or 'unknown'} ({scores}; threshold {threshold:.4f})")
