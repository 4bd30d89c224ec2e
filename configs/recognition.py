"""How well faces are recognised clean, damaged and restored: the encoders side by side.

python -m experiments.recognition --config=configs/recognition.py --workdir=runs/recognition
python -m experiments.recognition --config=configs/recognition.py:restored --workdir=runs/restored

The first measures both encoders on ORL's test people (s21 to s40) under every task and severity; the second four of the
tasks before and after the restorers that come with the package, with dlib's network as the judge that no training knew.
Other restorers: --config.restorers="('cnn=runs/cnn', 'gan=runs/gan')". The photographs as they are cut, all 40 people:
--config.tasks="()" --config.data.canvas=0 --config.data.split=all; what a face costs as well: --config.rounds=7
"""

from ml_collections import ConfigDict

from faceflax.models import shipped


def get_config(what="encoders"):
    config = ConfigDict()
    config.encoders = ("faceres", "compact")  # and "dlib", which is installed apart
    config.tasks = ("mixed",)  # degradations: "mixed", "noise" (all severities) or "noise 50"
    config.restorers = ()  # models of the package by name, others as "NAME=WORKDIR"
    config.batch_size = 40
    config.resamples = 500  # of the bootstrap over people
    config.rounds = 0  # of timing what a face costs; 0: no such table

    config.data = ConfigDict()
    config.data.dataset = "orl_faces"
    config.data.folder = ""
    config.data.data_dir = ""
    config.data.split = "test"
    config.data.label = "identity"  # the feature that says who it is
    config.data.image_size = 128  # pixels
    # The side of the canvas a photograph is centred on, over its longer side; 0: stretched to a square. 1.3 gives ORL's
    # tight cuts the proportions of FFHQ's faces, which degradations and restorers expect.
    config.data.canvas = 1.3
    if what == "restored":
        config.encoders = ("faceres", "compact", "dlib")
        config.tasks = ("sr 8", "blur 6", "noise 50", "facemask 1")
        config.restorers = shipped.names()
    config.lock()
    return config
