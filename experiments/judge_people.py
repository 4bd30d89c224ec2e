"""Whether pictures of a synthetic person show one person: python -m experiments.judge_people [--people=60].

Makes people as the data set `synthetic_people` does and asks the independent judge, which needs
`pip install 'faceflax[judge]'`, of all pairs of pictures. Prints how many of the pairs of one person, and of two, lie
below dlib's own distance for one person, and below a smaller one.
"""

import numpy as np
from absl import flags

from experiments import program

_PEOPLE = flags.DEFINE_integer("people", 60, "People.", lower_bound=2)
_PICTURES = flags.DEFINE_integer("pictures", 3, "Pictures of each.", lower_bound=2)
_SIZE = flags.DEFINE_integer("size", 128, "Pixels.")
_SEED = flags.DEFINE_integer("seed", 2026, "Of the people.")
_OUT = flags.DEFINE_string("out", "", "A .png to write: the pictures of the first people, one person a row.")


def main() -> int:
    """Judges by the flags; returns the process's exit status."""
    from faceflax.datasets import commands, images
    from faceflax.evaluation.judges.dlib_judge import SAME_PERSON, DlibJudge
    from faceflax.files import atomic_path
    from faceflax.training import face_generator, runtime

    runtime.start()
    judge, generator = DlibJudge(), face_generator.FaceGenerator()
    who = np.repeat(np.arange(_PEOPLE.value), _PICTURES.value)
    which = np.tile(np.arange(_PICTURES.value), _PEOPLE.value)
    faces = [generator.picture(_SEED.value, *pair, _SIZE.value) for pair in zip(who, which, strict=True)]
    if _OUT.value:
        sheet = commands.contact_sheet(faces[: 8 * _PICTURES.value], 2 * _PICTURES.value, 128)
        with atomic_path(_OUT.value) as temporary:
            temporary.write_bytes(images.encode_png(sheet))
    vectors = judge.descriptors(np.stack(faces))
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=-1)
    pairs = np.triu_indices(len(who), 1)
    is_same, distances = who[pairs[0]] == who[pairs[1]], distances[pairs]
    for name, found in (("one person", distances[is_same]), ("two people", distances[~is_same])):
        below = ", ".join(f"{np.mean(found < limit):.2%} below {limit}" for limit in (SAME_PERSON, SAME_PERSON - 0.1))
        print(f"{len(found)} pairs of {name}: {below}; median {np.median(found):.2f}")
    return 0


if __name__ == "__main__":
    program.run(main)
