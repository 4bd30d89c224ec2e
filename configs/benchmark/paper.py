"""The benchmark for accelerators: seven arms, three seeds, all tasks at all severities, at 256x256.

faceflax datasets build synthetic_faces --count 50000 --size 256
python -m experiments.benchmark --config=configs/benchmark/paper.py --workdir=runs/paper

Expect a whole report in `runs/paper/report/`. With several GPUs in the machine each training has its own; a training
that a cluster makes by itself is named instead: --config.trained.gan="'runs/gan0','runs/gan1','runs/gan2'".
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.data.dataset = "synthetic_faces"
    cnn.data.image_size = 256
    cnn.data.batch_size = 64
    cnn.data.workers = 8
    cnn.model.width = 64
    cnn.model.encoder_blocks = cnn.model.decoder_blocks = (2, 2, 2)
    cnn.model.middle_blocks = 4
    cnn.model.dtype = "bfloat16"
    cnn.gan.width = 64
    cnn.gan.scales = 4
    cnn.gan.augment = ()  # tens of thousands of faces, each damaged anew whenever it is seen: nothing to learn by heart
    cnn.gan.dtype = "bfloat16"
    cnn.optim.warmup = "1000steps"
    cnn.train.duration = "100000steps"
    cnn.train.eval_every = "10000steps"
    cnn.train.checkpoint_every = "5000steps"
    cnn.eval.max_images = 128
    config = settings.create(twins.create(cnn, "50000steps", perceptual=True, plain=True, prior=True))
    config.data.dataset = "synthetic_faces"
    config.data.image_size = 256
    config.eval.batch_size = 64
    config.eval.max_images = 1000
    config.compare.cnn, config.compare.gan = "cnn_continued", "gan"
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    return config
