"""Judges of restored faces beside PSNR and SSIM: pretrained networks, and the scores made of what they see."""

from faceflax.evaluation.judges.distribution import Gain, kid, kid_gain, mean_interval
from faceflax.evaluation.judges.networks import NAMES, compare, describe, load
from faceflax.evaluation.judges.verification import verification

__all__ = ["NAMES", "Gain", "compare", "describe", "kid", "kid_gain", "load", "mean_interval", "verification"]
