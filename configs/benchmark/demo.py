"""What `make demo` runs: a CNN and a short GAN for three kinds of damage, on the faces in the box.

python -m experiments.benchmark --config=configs/benchmark/demo.py --workdir=runs/demo

Expect under four minutes of training on two cores, then a table of both networks on 60 test faces, and
`runs/demo/report/faces.jpg`. For a comparison of CNN and GAN that means something see quick.py, cpu.py and paper.py.
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.tasks = ("noise 50", "sr 4", "occlude 25")
    cnn.data.batch_size = 4  # so few faces are learned better in many small steps than in few large ones
    cnn.train.duration = "1350steps"
    cnn.train.eval_every = "1350steps"
    cnn.train.checkpoint_every = "250steps"
    cnn.optim.warmup = "50steps"
    cnn.eval.tasks = cnn.tasks
    cnn.wandb.mode = "disabled"
    arms = twins.create(cnn, "100steps")
    arms["gan"].loss.identity = 0.0  # its network comes from npm, which a demonstration should not need
    config = settings.create({name: arms[name] for name in ("cnn", "gan")})
    config.seeds = (0,)
    config.eval.tasks = cnn.tasks
    config.eval.curve = ()
    config.eval.judges = ("perceptual",)
    config.efficiency.rounds = 0
    return config
