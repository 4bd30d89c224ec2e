"""The experiment's configuration: its defaults, its checks, and durations as people write them.

A file in `configs/` defines `get_config()`, which starts from `default()` and changes what it needs. The fields are
locked: a misspelt one is an error, not a new field. Comments give each field's unit.
"""

import hashlib
import json
import re
from typing import Any

from ml_collections import ConfigDict

from faceflax.errors import UserError

BEST_METRICS = ("psnr", "ssim", "step")  # what every validation knows, whatever its tasks; "step": the newest is best
SEGMENTER_METRICS = ("iou", "step")  # the same of a segmenter
ENCODER_METRICS = ("rank1", "step")  # and of a face encoder


def default() -> ConfigDict:
    """Returns a new configuration with every field that exists; the reference CNN at 128x128."""
    config = ConfigDict()
    config.seed = 0
    config.arm = "cnn"  # which network is trained, and so which step is run
    config.init_from = (
        ""  # the workdir or name of a model, NAME:TASKS for one of its experts, that training starts from
    )
    config.profile = ""  # steps to trace with jax.profiler, as "100:110"; empty: none
    config.tasks = ("mixed",)  # degradations trained on: "mixed", "noise" (all severities) or "noise 50"

    config.data = ConfigDict()
    config.data.source = "dataset"  # where training faces come from: dataset | prior, made on the devices without end
    config.data.dataset = "mini_faces"  # a builder of ours, or any tfds name with an `image` key
    config.data.folder = ""  # the user's folder, for dataset = "face_folder" or "people_folder"
    config.data.data_dir = ""  # where prepared datasets lie; empty: the cache
    config.data.train_split = "train"
    config.data.eval_split = "validation"
    config.data.test_split = "test"  # read by `experiments.evaluate` alone
    config.data.image_size = 128  # pixels, height and width
    config.data.batch_size = 16  # images a step, over all devices and processes
    config.data.flip = True  # mirror left and right, half of the time
    config.data.crop = 1.0  # smallest side of a random square crop, as a share of the image; 1: no crop
    config.data.tones = 0.0  # share of the images shown in another light: darker or brighter, with a colour cast
    config.data.grey = 0.0  # share of the images that lose their colour; then their damage has none either
    config.data.workers = 0  # worker processes that decode; 0: threads of this process
    config.data.label = ""  # the examples' feature that says who it is, as "identity"; empty: nothing asks for it

    config.model = ConfigDict()
    config.model.name = "encoder_decoder"  # encoder_decoder | face_prior, a U-Net that steers the face prior
    config.model.block = "residual"  # residual | nafnet
    config.model.width = 32  # channels at the first scale; doubled at each coarser one
    config.model.encoder_blocks = (1, 1, 1)  # blocks at each scale on the way down
    config.model.middle_blocks = 2
    config.model.decoder_blocks = (1, 1, 1)  # blocks at each scale on the way up, coarsest first
    config.model.patch = 2  # side of the stem's pixel-unshuffle; 1: none
    config.model.experts = ()  # tasks of each expert, as ("blind", "sr", "sr 4"); the first takes all else
    config.model.deblur = ()  # blur that each expert, or a network without experts, undoes first: "motion", "blur", ""
    # Of holes, before the network: smooth | face, or coarse_face where there is no room (as aligned faces go on).
    config.model.fill = "smooth"
    config.model.remat = False  # compute each block, and level of the prior, twice and keep nothing within: less memory
    config.model.dtype = "float32"  # of activations; parameters are float32 always
    config.model.frozen = True  # of name = "face_prior": the prior's own parameters stay as published

    config.loss = ConfigDict()  # weights of the terms; 0 leaves the term out of the graph
    config.loss.charbonnier = 1.0
    config.loss.l1 = 0.0
    config.loss.psnr = 0.0  # minus the PSNR in bels: light and heavy damage pull alike
    config.loss.ssim = 0.0
    config.loss.ms_ssim = 0.0
    config.loss.fft = 0.0
    config.loss.perceptual = 0.0  # a distance of SqueezeNet's features; fetches that network
    config.loss.identity = 0.0  # 1 - cosine of faceres' vectors; fetches that network

    config.gan = ConfigDict()  # read by arm = "gan" alone; the loss above is its reconstruction loss
    config.gan.loss = "hinge"  # hinge | non_saturating | relativistic, which needs r1 and r2
    config.gan.weight = 0.1  # of the adversarial loss beside the reconstruction loss
    config.gan.adaptive = False  # multiply the weight by the ratio of the two losses' gradients
    config.gan.start = 0  # steps in which the discriminator learns and the generator does not heed it
    config.gan.r1 = 0.0  # weight of the penalty on the discriminator's gradient at real images
    config.gan.r2 = 0.0  # the same at restored ones
    config.gan.penalty_every = 16  # steps from one computation of the penalties to the next
    config.gan.augment = ("color", "translation", "cutout")  # what the discriminator's images go through
    config.gan.conditional = True  # the discriminator also sees the degraded image and the mask
    config.gan.width = 32  # channels at half the image's side; doubled at each coarser scale
    config.gan.scales = 3
    config.gan.dtype = "float32"  # of the discriminator's activations; penalties are float32 always
    config.gan.lr_ratio = 1.0  # the discriminator's learning rate, as a multiple of the generator's
    config.gan.b1 = 0.0
    config.gan.b2 = 0.99
    config.gan.eps = 1e-8

    config.experts = ConfigDict()  # read by arm = "experts" alone
    config.experts.start = ()  # workdirs or names of the networks that become the experts, as in `model.experts`
    config.experts.undamaged = 0.15  # share of the images that the router sees undamaged; the first expert takes them
    config.experts.twice = 0.25  # share whose damage is damaged again; the first takes them too
    config.experts.stretched = 0.2  # share with severities between and beyond the tasks'; the whole task's expert's

    config.inversion = ConfigDict()  # read by arm = "inversion" alone, beside the loss above
    config.inversion.style = 1.0  # weight of the share of the styles' variance that is missed
    config.inversion.damage = 0.5  # share of faces that are damaged by `tasks`

    config.encoder = ConfigDict()  # read by arm = "encoder" alone
    config.encoder.size = 112  # pixels, the side of what the network looks at
    config.encoder.blocks = 11  # of faceres' 13
    config.encoder.start = "faceres"  # whose parameters it starts from: faceres | compact (as shipped) | "" (random)
    config.encoder.frozen = 5  # blocks, from the first convolution on, that stay as they start
    config.encoder.dimension = 512  # of the vectors
    config.encoder.damage = 0.5  # share of faces that the network sees damaged by `tasks`
    config.encoder.distillation = 1.0  # weight of the loss against faceres' vectors; fetches that network
    config.encoder.relation = 10.0  # weight of the loss on the cosines between a batch's faces; the same network
    config.encoder.margin = 0.0  # weight of the margin loss over people, which needs `data.label`
    config.encoder.people = 0  # how many people the labels tell apart, for the margin loss
    config.encoder.angle = 0.5  # the margin, in radians
    config.encoder.scale = 32.0  # of the margin loss's logits

    config.optim = ConfigDict()
    config.optim.lr = 1e-3  # peak learning rate of AdamW
    config.optim.final_lr = 1e-6
    config.optim.warmup = "100steps"
    config.optim.b1 = 0.9
    config.optim.b2 = 0.99
    config.optim.eps = 1e-8  # added to the root of the mean squared gradient
    config.optim.weight_decay = 1e-4
    config.optim.clip_norm = 1.0  # global gradient norm; 0: no clipping
    config.optim.modules = ()  # of the network, by the start of their names, that training changes; empty: all
    config.optim.accumulate = 1  # micro-batches a step
    config.optim.ema_decay = 0.999

    config.train = ConfigDict()  # durations: "500steps" or "2epochs"
    config.train.duration = "100epochs"
    config.train.log_every = "50steps"
    config.train.eval_every = "1000steps"
    config.train.checkpoint_every = "1000steps"
    config.train.keep = 2  # newest checkpoints kept, besides the best one

    config.eval = ConfigDict()
    config.eval.batch_size = 32
    config.eval.tasks = ("mixed",)  # the degradations of tables, written as in `tasks`
    config.eval.max_images = 0  # 0: the whole split
    config.eval.best_metric = "psnr"  # psnr | ssim, mean over `eval.tasks`, | step: chooses the best checkpoint

    config.parallel = ConfigDict()
    config.parallel.strategy = "jit"  # jit | pmap: who splits a step over the devices, the compiler or each for itself
    config.parallel.mesh = ConfigDict({"data": -1, "fsdp": 1, "spatial": 1})  # devices along each axis; -1: the rest

    config.wandb = ConfigDict()
    config.wandb.mode = "auto"  # auto: online with a key, else offline | online | offline | disabled
    config.wandb.project = "faceflax"
    config.wandb.group = ""
    config.wandb.tags = ()
    config.lock()
    return config


_NO_END = float("inf")
_AT_LEAST_1 = ("data.image_size", "data.batch_size", "optim.accumulate", "eval.batch_size", "train.keep")
_AT_LEAST_1 += ("gan.penalty_every", "encoder.size", "encoder.dimension", "encoder.scale")
_AT_LEAST_0 = ("data.workers", "eval.max_images", "optim.lr", "optim.final_lr", "optim.weight_decay", "optim.clip_norm")
_AT_LEAST_0 += ("gan.weight", "gan.start", "gan.r1", "gan.r2", *(f"loss.{name}" for name in default().loss))
_AT_LEAST_0 += ("inversion.style",)
_AT_LEAST_0 += tuple(f"encoder.{name}" for name in ("distillation", "relation", "margin", "people", "frozen"))
_SHARES = ("data.crop", "data.tones", "data.grey", "optim.ema_decay", "encoder.damage", "inversion.damage")
_SHARES += ("experts.undamaged", "experts.twice", "experts.stretched")
_LIMITS = {  # the least and the most that a field may be
    **dict.fromkeys(_AT_LEAST_1, (1, _NO_END)),
    **dict.fromkeys(_AT_LEAST_0, (0, _NO_END)),
    **dict.fromkeys(_SHARES, (0, 1)),
    "encoder.angle": (0, 1.5),
}
_ABOVE_0 = ("optim.eps", "gan.lr_ratio", "gan.eps")
_BELOW_1 = ("optim.b1", "optim.b2", "gan.b1", "gan.b2")  # of Adam's averages, which at 1 would never move


def validate(config: ConfigDict) -> None:
    """Raises `UserError` for a number or a word that nothing can be done with; the parts check what they know best."""
    _check_numbers(config)
    best_metrics = {"segmenter": SEGMENTER_METRICS, "encoder": ENCODER_METRICS}.get(config.arm, BEST_METRICS)
    choices = {"eval.best_metric": best_metrics, "wandb.mode": ("auto", "online", "offline", "disabled")}
    choices |= {"parallel.strategy": ("jit", "pmap")}
    choices |= {"data.source": ("dataset", "prior"), "encoder.start": ("faceres", "compact", "")}
    if config.arm in ("cnn", "gan") and not any(config.loss.values()):
        raise UserError(f"every weight of config.loss is 0: give one of {', '.join(config.loss)} a weight")
    if config.arm == "inversion" and not any((config.inversion.style, *config.loss.values())):
        raise UserError("config.inversion.style and every weight of config.loss are 0: give one of them a weight")
    if config.arm == "gan":
        _check_gan(config)
    _check_experts(config)
    profiled_steps(config.profile)
    for name, words in choices.items():
        if _get(config, name) not in words:
            raise UserError(f'config.{name} is "{_get(config, name)}"; choose one of {", ".join(words)}')


def _check_numbers(config: ConfigDict) -> None:
    for name, (least, most) in _LIMITS.items():
        value = _get(config, name)
        if not least <= value <= most:
            where = f"at least {least}" if most == _NO_END else f"between {least} and {most}"
            raise UserError(f"config.{name} is {value}; it must be {where}")
    for name in _ABOVE_0:
        if not _get(config, name) > 0:
            raise UserError(f"config.{name} is {_get(config, name)}; it must be above 0")
    for name in _BELOW_1:
        if not 0 <= _get(config, name) < 1:
            raise UserError(f"config.{name} is {_get(config, name)}; it must be at least 0 and below 1")


def _check_gan(config: ConfigDict) -> None:
    if config.eval.best_metric != "step":
        raise UserError(
            f'config.eval.best_metric "{config.eval.best_metric}" would choose the checkpoint of a GAN that is least '
            "like one; make it step"
        )
    if config.gan.loss == "relativistic" and not (config.gan.r1 and config.gan.r2):
        raise UserError(
            'config.gan.loss "relativistic" may never settle without both penalties; give config.gan.r1 and '
            "config.gan.r2 a weight, or choose another loss"
        )


def _check_experts(config: ConfigDict) -> None:
    if config.arm == "experts":
        if not config.experts.start and not config.init_from:
            raise UserError(
                'arm = "experts" trains a router between trained networks: name them in config.experts.start, or a '
                "training of this kind in config.init_from"
            )
    elif config.experts.start or config.model.experts:
        raise UserError(
            'experts are trained alone and then joined by arm = "experts": leave config.experts.start and '
            f'config.model.experts empty for arm = "{config.arm}"'
        )


def _get(config: ConfigDict, name: str) -> Any:
    section, field = name.split(".")
    return config[section][field]


def to_json(config: ConfigDict) -> str:
    """Returns the configuration as indented JSON with sorted keys (tuples become lists)."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def from_json(text: str | bytes) -> ConfigDict:
    """Returns the configuration that `to_json` wrote.

    Fields that were added to `default()` since are filled in. Raises `UserError` when it holds a field that no longer
    exists, or is not JSON.
    """
    try:
        return from_dict(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"config.json is not readable ({error}); it was changed by hand, or cut short") from error


def from_dict(values: dict[str, Any]) -> ConfigDict:
    """Returns the configuration of the fields in `values`, of what JSON holds; otherwise as `from_json`."""
    config = default()
    _update(config, values, "config")
    return config


def _update(config: ConfigDict, values: dict[str, Any], path: str) -> None:
    for key, value in values.items():
        if key not in config:
            raise UserError(f"unknown field {path}.{key}: this version of faceflax does not have it")
        if isinstance(config[key], ConfigDict):
            _update(config[key], value, f"{path}.{key}")
        else:
            config[key] = tuple(value) if isinstance(value, list) else value


def fingerprint(config: ConfigDict) -> str:
    """Returns the first 12 hex digits of the SHA-256 of the configuration's JSON."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()[:12]


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(steps?|epochs?)")


def num_steps(duration: str, steps_per_epoch: int | None) -> int:
    """Returns the number of steps (at least 0) of "500steps" or "2epochs"; "0" needs no unit.

    Raises `UserError` for another form, and for epochs where `steps_per_epoch` is None: there are none.
    """
    if duration.strip() == "0":
        return 0
    match = _DURATION.fullmatch(duration.strip())
    if not match:
        raise UserError(f'"{duration}" is not a duration: write "500steps" or "2epochs"')
    count, is_epochs = float(match[1]), match[2].startswith("epoch")
    if is_epochs and steps_per_epoch is None:
        raise UserError(f'"{duration}" has no length: faces that the prior makes know no epochs; write "500steps"')
    return round(count * steps_per_epoch) if is_epochs else round(count)


def profiled_steps(text: str) -> range:
    """Returns the steps of "100:110", from 100 up to 109 counted in steps done before; none for an empty text.

    Raises `UserError` for another form, or a range that holds no step.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text) if text else None
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    if text and not steps:
        raise UserError(
            f'config.profile is "{text}"; write the first step to trace and the one to stop before, as "100:110"'
        )
    return steps
