"""Our restorers and what people would use instead, on the same faces.

faceflax datasets build face_folder --folder ../shared/real_faces/aligned128
python -m experiments.comparison --config=configs/comparison.py --workdir=runs/comparison

Expect the tables of `docs/comparison.md` in `runs/comparison/report/`: PSNR, SSIM, identity, seconds a face, for 13
kinds of damage. Other restorers: --config.restorers="('cnn', 'mine=runs/mine')"; the alternatives alone:
--config.restorers="()"; some of them: --config.alternatives="('bm3d', 'realesrgan')". Other faces, aligned as FFHQ
aligns them: --config.data.folder=FOLDER, which is built first.
"""

from ml_collections import ConfigDict

from faceflax.evaluation.comparison import damage
from faceflax.models import shipped


def get_config():
    config = ConfigDict()
    config.restorers = shipped.names()  # models of the package by name, others as "NAME=WORKDIR"
    config.alternatives = ()  # names of faceflax/evaluation/comparison/methods.py; (): all
    config.tasks = tuple(map(str, damage.TASKS))

    config.data = ConfigDict()
    config.data.dataset = "face_folder"
    config.data.folder = "../shared/real_faces/aligned128"
    config.data.data_dir = ""
    config.data.split = "all"
    config.data.image_size = 128  # pixels; that of the restorers

    config.eval = ConfigDict()
    config.eval.judges = ("perceptual", "identity", "kid", "dlib")  # the last one only where dlib is installed
    config.eval.batch_size = 16  # faces that are scored at once; they are restored one after another
    config.eval.max_images = 0  # 0: the whole split
    config.eval.faces = 0  # results kept in each cell: photographs of people stay out of the workdir
    config.lock()
    return config
