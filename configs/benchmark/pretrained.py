"""The networks that ship, measured as the benchmark measures its arms: nothing is trained.

python -m experiments.benchmark --config=configs/benchmark/pretrained.py --workdir=runs/pretrained

`runs/faces` is the folder that they were trained from (configs/pretrain/cnn.py), and its `test` split is measured on.
The GAN's loss knows the judge of identity, so dlib's judges too, which no loss knows: pip install 'faceflax[judge]'.
Expect a report without a verdict, as the two were not trained equally long. Twins of equal budgets are their workdirs:

python -m experiments.train --config=configs/pretrain/cnn.py:128 --config.init_from=cnn --workdir=runs/pretrain/cnn3
  --config.data.batch_size=4 --config.optim.lr=3e-4 --config.train.duration=7000steps --config.eval.best_metric=step
python -m experiments.train --config=configs/pretrain/gan.py --workdir=runs/pretrain/gan3
python -m experiments.benchmark --config=configs/benchmark/pretrained.py --workdir=runs/twins
  --config.trained.cnn="('runs/pretrain/cnn3',)" --config.experiments.cnn.arm=cnn
  --config.trained.gan="('runs/pretrain/gan3',)"
  --config.compare.cnn=cnn --config.compare.gan=gan

Expect a verdict there, and a measurement of the discriminator, which does not ship.
"""

from configs.pretrain import experts, gan
from faceflax.evaluation.benchmark import settings


def get_config():
    config = settings.create({"cnn": experts.get_config(), "gan": gan.get_config()})
    config.trained.cnn, config.trained.gan = ("cnn",), ("gan",)
    config.seeds = (0,)
    config.data.dataset = "face_folder"
    config.data.folder = "runs/faces"
    light = ("sr 2", "noise 15")
    heavy = ("sr 8", "noise 50", "blur 3", "jpeg 10", "lowlight 2", "occlude 50", "facemask 1", "blind 2")
    config.eval.tasks = light + heavy
    config.eval.curve = ()
    config.eval.judges = ("perceptual", "identity", "kid", "dlib")
    config.eval.max_images = 128
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "occlude 50", "facemask 1")
    config.efficiency.rounds = 0
    return config
