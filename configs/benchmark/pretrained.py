"""The networks that ship, measured as the benchmark measures its arms: nothing is trained.

python -m experiments.benchmark --config=configs/benchmark/pretrained.py --workdir=runs/pretrained

`runs/faces` is the folder that they were trained from (configs/pretrain/cnn.py), and its `test` split is measured on.
Expect a report without a verdict, as the two were not trained equally long. With the workdir of a GAN's training in
place of the model, --config.trained.gan="('runs/pretrain/gan',)", its discriminator is measured as well.
"""

from configs.pretrain import cnn, gan
from faceflax.evaluation.benchmark import settings


def get_config():
    config = settings.create({"cnn": cnn.get_config(), "gan": gan.get_config()})
    config.trained.cnn, config.trained.gan = ("cnn",), ("gan",)
    config.seeds = (0,)
    config.data.dataset = "face_folder"
    config.data.folder = "runs/faces"
    config.eval.tasks = ("sr 8", "noise 50", "blur 3", "jpeg 10", "lowlight 2", "occlude 50", "facemask 1", "blind 2")
    config.eval.curve = ()
    config.eval.max_images = 128
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "occlude 50", "facemask 1")
    config.efficiency.rounds = 0
    return config
