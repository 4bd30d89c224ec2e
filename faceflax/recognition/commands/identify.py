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
from faceflax.recognition.gallery import Gallery

_Person = tuple[str, float]  # a name, and the cosine with the nearest vector that bears it


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
        for face, ranked in zip(faces, _rank(gallery, arguments.by, vectors, arguments.top, condition), strict=True):
            found[face.path].append((face.box, ranked))
    for path in paths:
        for box, ranked in found[path]:
            _print(path, box, ranked, threshold, is_one=len(found[path]) == 1, as_json=arguments.json)
        if arguments.json and not found[path]:
            session.print_json(file=str(path), error=failures.by_path.get(path, ""))
    return 1 if failures.count else 0


def _rank(gallery: Gallery, by: str, vectors: np.ndarray, top: int, condition: str) -> list[list[_Person]]:
    """Returns for each vector [N, D] up to `top` people, the likeliest first, with the scores of their nearest."""
    if by == "nearest":
        found = gallery.search_people(vectors, top, condition)
        return [[(match.record.name, match.score) for match in matches] for matches in found]
    from faceflax.recognition import classifier

    enrolled, labels, names = classifier.training_set(gallery, condition)
    likeliest = classifier.fit(enrolled, labels, names).likeliest(vectors, top)
    number = {name: number for number, name in enumerate(names)}
    return [
        [(name, float((enrolled[labels == number[name]] @ vector).max())) for name in ranked]
        for vector, ranked in zip(vectors, likeliest, strict=True)
    ]


def _print(
    path: Path, box: Sequence[int] | None, people: Sequence[_Person], threshold: float, *, is_one: bool, as_json: bool
) -> None:
    name = people[0][0] if people and people[0][1] > threshold else None
    if as_json:
        shown = [{"name": name, "score": round(score, 6)} for name, score in people]
        session.print_json(file=str(path), box=box, name=name, threshold=threshold, people=shown)
        return
    place = "" if is_one else f", face at {box[0]},{box[1]} to {box[2]},{box[3]}"
    scores = ", ".join(f"{name} {score:.4f}" for name, score in people) or "nobody"
    session.say(f"{path}{place}: {name or 'unknown'} ({scores}; threshold {threshold:.4f})")
