"""What `faceflax enroll` does."""

import argparse
import collections
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceflax.models.face_encoder import FaceEncoder
from faceflax.preprocessing.console import printable
from faceflax.recognition import averages, records
from faceflax.recognition.commands import session
from faceflax.recognition.embedding import Embedded
from faceflax.recognition.gallery import Gallery
from faceflax.recognition.records import Record


def run(arguments: argparse.Namespace) -> int:
    """Enrols the photographs that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be enrolled at all: no gallery, no encoder, another encoder's gallery. A gallery
    that this call made does not stay when nothing was put into it.
    """
    metadata = records.parse_pairs("--set", arguments.set)
    for option in ("consent", "purpose"):
        records.check_text(f"--{option}", getattr(arguments, option), records.MAX_NOTE)
    people, sentences = session.find_people([Path(name) for name in arguments.inputs], arguments.name)
    failures = session.Failures(sentences)
    if not people:
        return 1
    session.choose_encoder(None, arguments.encoder)  # a name that there is, before a gallery is made
    with session.open_gallery(arguments.gallery, create=True) as gallery:
        encoder = session.choose_encoder(gallery, arguments.encoder)
        embedder = session.create_embedder(encoder, arguments)

        def record(face: Embedded) -> Record:
            return Record(
                name=people[face.path],
                encoder=encoder.name,
                version=encoder.version,
                sources=(face.sha256,),
                length=1.0,
                consent=arguments.consent,
                purpose=arguments.purpose,
                time=int(time.time()),
                metadata=metadata,
            )

        enrolled: list[Record] = []
        waiting: list[tuple[Record, np.ndarray]] = []
        for faces in session.embed(embedder, list(people), failures, "enrolling"):
            made = [record(face) for face in faces]
            enrolled += made
            if arguments.average:
                waiting += zip(made, session.stack(faces, encoder.size), strict=True)
            else:
                gallery.add(encoder, made, session.stack(faces, encoder.size))
        if waiting:
            _add_averages(gallery, encoder, waiting)
        gallery.settle()
    names = {each.name for each in enrolled}
    print(
        f"enrolled {len(enrolled)} of {len(people)} photographs, {len(names)} people, in {printable(arguments.gallery)}"
    )
    return 1 if failures.count else 0


def _add_averages(gallery: Gallery, encoder: FaceEncoder, photographs: Sequence[tuple[Record, np.ndarray]]) -> None:
    """Enrols one vector a person, together with those of the photographs that were averaged before."""
    by_name: dict[str, list[tuple[Record, np.ndarray]]] = collections.defaultdict(list)
    for each in photographs:
        by_name[each[0].name].append(each)
    names = list(by_name)
    old: dict[str, tuple[Record, np.ndarray]] = {}
    for start in range(0, len(names), 500):
        for found, vectors in gallery.vectors(records.condition(names[start : start + 500])):
            old |= {r.name: (r, vector) for r, vector in zip(found, vectors, strict=True) if r.is_average}
    merged = [averages.merge(old.get(name), new) for name, new in by_name.items()]
    gallery.add(encoder, [record for record, _ in merged], np.stack([vector for _, vector in merged]))
