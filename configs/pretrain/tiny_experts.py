"""The smallest restorer that ships, with experts: under 1 MB in eight bits (docs/experts.md).

As configs/pretrain/experts.py, from the last training of configs/pretrain/tiny.py, which is the expert for all else:

python -m experiments.train --config=configs/pretrain/tiny_experts.py:KIND --workdir=runs/pretrain/expert_KIND
python -m experiments.train --config=configs/pretrain/tiny_experts.py --workdir=runs/pretrain/tiny_experts
python -m experiments.ship --workdir=runs/pretrain/tiny_experts --name=tiny --eight_bits

The router takes 8 minutes on one core and tells 97% of the damage; on 17 photographs of people, all damage, this ends
at 25.40 dB, where the network that it starts from is at 24.40 dB.
"""

from configs.pretrain import experts, tiny
from configs.pretrain.experts import Kind

KINDS = {
    "tiny_srjpeg": Kind("sr, jpeg", ("sr", "sr 4", "jpeg", "jpeg 10"), "tiny3", 1500),
    "tiny_blur": Kind("blur", ("blur", "blur 3"), "tiny3", 1200, "blur"),
    "tiny_motion": Kind("motion", ("motion", "motion 15"), "tiny3", 1200, "motion"),
}


def get_config(name=""):
    config = experts.choose(KINDS, tiny.get_config("128"), name)
    if not name:
        config.model.experts = ("blind", *config.model.experts)
        config.model.deblur = ("", *config.model.deblur)
        config.experts.start = ("runs/pretrain/tiny3", *config.experts.start)
        config.train.duration = "2000steps"
    return config
