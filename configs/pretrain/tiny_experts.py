"""The smallest restorer that ships, with experts: under 1 MB in eight bits (docs/experts.md).

As configs/pretrain/experts.py; the expert for all else was, at first, the last training of configs/pretrain/tiny.py:

python -m experiments.train --config=configs/pretrain/tiny_experts.py:KIND --workdir=runs/pretrain/expert_KIND
python -m experiments.train --config=configs/pretrain/tiny_experts.py:join,KIND --workdir=runs/pretrain/tiny_experts
python -m experiments.ship --workdir=runs/pretrain/tiny_experts --name=tiny --eight_bits

The router took 2,000 steps from nothing, 8 minutes on one core, and tells 97% of the damage; on 17 photographs of
people, all damage, this ends at 25.51 dB, where the network that it started from is at 24.40 dB.
"""

from configs.pretrain import experts, tiny
from configs.pretrain.experts import Kind

KINDS = {
    "tiny_blind": Kind("blind", ("blind", "blind 2", "mixed", "occlude", "facemask"), crop=0.9),  # and all holes
    "tiny_srjpeg": Kind("sr, jpeg", ("sr", "sr 4", "jpeg", "jpeg 10")),
    "tiny_blur": Kind("blur", ("blur", "blur 3"), "blur"),
    "tiny_motion": Kind("motion", ("motion", "motion 15", "motion 15"), "motion"),
}


def get_config(what="join"):
    return experts.choose(KINDS, "tiny", tiny.get_config("128"), what, "coarse_face")
