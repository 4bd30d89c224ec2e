"""A CNN for every kind of damage at every severity: what the experts of the shipped `cnn` start from (experts.py).

Small pictures first, where a step is four times as cheap, then those of the final size:

python -m experiments.train --config=configs/pretrain/cnn.py:64 --workdir=runs/pretrain/cnn64
python -m experiments.train --config=configs/pretrain/cnn.py:128 --workdir=runs/pretrain/cnn

`runs/faces` holds the faces in `train/`, and photographs of real people, by which the checkpoint is chosen and which
are never trained on, in `validation/`: faceflax datasets build face_folder --folder runs/faces. The next trainings go
on from there, with more of the damage that it mends least (cnn2 and cnn3 alike); the last with dark, tinted and grey
faces:

python -m experiments.train --config=configs/pretrain/cnn.py:128 --config.init_from=runs/pretrain/cnn
  --config.tasks="('mixed', 'motion', 'blur', 'noise', 'lowlight')" --config.train.duration=9000steps
  --workdir=runs/pretrain/cnn2
python -m experiments.train --config=configs/pretrain/cnn.py:128 --config.init_from=runs/pretrain/cnn3
  --config.tasks="('mixed', 'motion', 'blur', 'noise', 'lowlight')" --config.train.duration=7000steps
  --config.optim.lr=5e-4 --config.data.tones=0.15 --config.data.grey=0.1 --workdir=runs/pretrain/cnn4

On 17 photographs of people, all damage, the second training ended at 24.51 dB, the third at 24.85 dB and this one at
24.94 dB. Without colour, its noise grey too, noise 50 on 34 of them is restored to 24.4 dB, by the third to 20.2 dB.
"""

from faceflax import config as config_lib


def get_config(size="128"):
    config = config_lib.default()
    config.data.dataset = "face_folder"
    config.data.folder = "runs/faces"
    config.data.image_size = int(size)
    config.data.crop = 0.8
    config.loss.charbonnier = 0.0
    config.loss.psnr = 1.0
    config.train.eval_every = "1000steps"
    config.train.checkpoint_every = "500steps"
    config.eval.max_images = 17
    config.wandb.mode = "disabled"
    if config.data.image_size == 64:
        config.data.batch_size = 16
        config.optim.final_lr = 3e-4
        config.train.duration = "6000steps"
    else:
        config.init_from = "runs/pretrain/cnn64"
        config.data.batch_size = 8
        config.optim.lr = 6e-4
        config.train.duration = "6000steps"
    return config
