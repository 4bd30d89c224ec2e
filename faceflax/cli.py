"""The `faceflax` command: arguments only. What a command does is imported when it is called."""

import argparse
from collections.abc import Sequence
from typing import Any

from faceflax import __version__
from faceflax.arguments import COUNT, Parser, number, whole
from faceflax.errors import run_main
from faceflax.recognition.commands import arguments as recognition
from faceflax.serving import arguments as serving


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="faceflax", description="Reconstructs faces from degraded photographs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_datasets(commands)
    _add_normalize(commands)
    _add_restore(commands)
    _add_mask(commands)
    _add_models(commands)
    recognition.add(commands)
    _add_export(commands)
    serving.add(commands)
    return parser


def _add_models(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.restoration import models_command

        return models_command.run(arguments)

    commands.add_parser("models", help="list the models that come with faceflax").set_defaults(run=run)


def _add_datasets(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.datasets import commands as datasets

        return datasets.run(arguments, _face_generator)

    parser = commands.add_parser("datasets", help="list, show or build datasets of faces")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    place = Parser(add_help=False)
    place.add_argument("--data-dir", help="where prepared datasets lie (default: $TFDS_DATA_DIR or the cache)")
    named = Parser(add_help=False)
    named.add_argument("name", metavar="NAME", help="a dataset of ours, or any tfds dataset with an image")
    named.add_argument("--folder", help="the photographs of face_folder or people_folder")
    actions.add_parser("list", parents=[place], help="the datasets, and whether they are built")
    show = actions.add_parser("show", parents=[named, place], help="splits, features, licence and fingerprint")
    show.add_argument("--out", metavar="FILE.png", help="also write a sheet of 16 of its images")
    build = actions.add_parser("build", parents=[named, place], help="prepare a dataset; goes on where it was stopped")
    build.add_argument(
        "--count", type=COUNT, default=10_000, help="of synthetic faces, or people (default: %(default)s)"
    )
    build.add_argument("--pictures", type=COUNT, default=10, help="of each synthetic person (default: %(default)s)")
    build.add_argument(
        "--size",
        type=whole("from 16 to 1024"),
        default=256,
        help="pixels of synthetic faces, to 1024 (default: %(default)s)",
    )
    build.add_argument(
        "--seed", type=whole("of 0 or more"), default=2026, help="of synthetic faces and people (default: %(default)s)"
    )


def _face_generator() -> Any:
    from faceflax.training.face_generator import FaceGenerator

    return FaceGenerator()


def _add_normalize(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.preprocessing import command as preprocessing

        return preprocessing.run(arguments)

    parser = commands.add_parser(
        "normalize",
        help="cut aligned faces in even light out of photographs and videos",
        description="Finds every face, aligns it, corrects its light and removes its noise: DIR/NAME.png is the "
        "largest face of a photograph, DIR/NAME+2.png the next, DIR/NAME.json says what was measured and done. What "
        "is there already, made of the same file in the same way, is kept. A file that cannot be done is reported, "
        "the others are done, and the exit status is 1.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PHOTO|FOLDER|VIDEO|CAMERA",
        help="images, videos, folders of them at any depth, patterns such as 'in/**/*.jpg', a camera's number or a "
        "stream's URL",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the faces go")
    parser.add_argument(
        "--size", type=whole("from 16 to 2048"), default=256, help="side of a face in pixels (default: %(default)s)"
    )
    parser.add_argument("--template", default="ffhq", help="framing: ffhq or arcface, which is closer (default: ffhq)")
    parser.add_argument("--frontal", action="store_true", help="turn faces that look to a side to the front")
    parser.add_argument("--no-relight", dest="relight", action="store_false", help="leave the light as it is")
    parser.add_argument("--no-denoise", dest="denoise", action="store_false", help="leave noise in")
    parser.add_argument("--only-largest", action="store_true", help="of each picture, the largest face only")
    parser.add_argument(
        "--max-yaw",
        type=number("from 0 to 180"),
        default=60,
        metavar="DEGREES",
        help="refuse faces in profile (default: %(default)s)",
    )
    parser.add_argument(
        "--min-side",
        type=number("of 0 or more"),
        default=20,
        metavar="PIXELS",
        help="refuse smaller faces (default: %(default)s)",
    )
    parser.add_argument(
        "--every", type=COUNT, default=1, metavar="N", help="of a video, each N-th frame (default: all)"
    )
    parser.add_argument("--frames", type=COUNT, metavar="N", help="of a video, N frames at most (live: 100)")
    parser.add_argument("--workers", type=COUNT, metavar="N", help="processes (default: one a core)")


def _add_files(parser: argparse.ArgumentParser, metavar: str, kinds: str) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar=metavar,
        help=f"{kinds}, folders of them at any depth (kept in DIR), or patterns such as 'in/**/*.jpg'",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the results go")


def _add_restore(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.restoration import command as restoration

        return restoration.run(arguments)

    parser = commands.add_parser(
        "restore",
        help="restore the faces in photographs and videos",
        description="Finds the faces in photographs, restores them and puts them back, into DIR/NAME.png with a report "
        "DIR/NAME.json; of videos into DIR/NAME.mp4. With --aligned restores face crops. The model works at "
        "the size that it was trained at: of a larger face without noise the finer detail stays, and a crop comes back "
        "as the model's result enlarged, except where a mask says that its pixels are known. Results that are there "
        "already are replaced. A file that cannot be restored "
        "is reported, the others are done, and the exit status is 1.",
    )
    parser.set_defaults(run=run)
    _add_files(parser, "PHOTO|FOLDER|VIDEO", "images, videos")
    parser.add_argument("--aligned", action="store_true", help="each input is a cropped face, restored whole")
    parser.add_argument(
        "--model",
        metavar="NAME|WORKDIR|FILE",
        help="a model of `faceflax models`, the workdir of one, or a file of `faceflax export` (default: cnn)",
    )
    parser.add_argument(
        "--only-center-face", action="store_true", help="restore only the face nearest to a photograph's middle"
    )
    parser.add_argument(
        "--upscale",
        type=whole("from 1 to 4"),
        default=1,
        metavar="N",
        help="enlarge the photograph N times, to 4 (default: %(default)s)",
    )
    parser.add_argument(
        "--compare", action="store_true", help="also write DIR/NAME.compare.png, before and after side by side"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE|FOLDER|auto",
        help="a mask for every image, or a folder of masks under the images' names, each of its image's size: what is "
        "not black (and not transparent) is missing, all other pixels are kept exactly; auto: what --segmenter finds",
    )
    parser.add_argument(
        "--segmenter", metavar="WORKDIR", help="for --mask auto: a trained network that finds what covers a face"
    )
    parser.add_argument(
        "--fidelity",
        type=number("from 0 to 1"),
        metavar="F",
        help="for a GAN: from 0, its own result, to 1, that of the CNN it was trained from, true to the pixels",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="restore each face's mirror image as well and take the mean: a little nearer to the clean face, in twice "
        "the time",
    )
    parser.add_argument(
        "--batch-size", type=COUNT, default=8, metavar="N", help="images restored at once (default: %(default)s)"
    )


def _add_mask(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.restoration import mask_command

        return mask_command.run(arguments)

    parser = commands.add_parser(
        "mask",
        help="put masks on faces",
        description="Draws a mask on every face: DIR/faces/NAME.png is the masked image, DIR/masks/NAME.png its mask, "
        "white where the face is covered, as `faceflax restore DIR/faces --mask DIR/masks` takes them. Other pixels "
        "stay as they are. A file that cannot be done is reported, the others are done, and the exit status is 1.",
    )
    parser.set_defaults(run=run)
    _add_files(parser, "PHOTO|FOLDER", "images")
    parser.add_argument("--aligned", action="store_true", help="each input is a cropped face, framed as FFHQ's are")
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        help="where each face is: a CSV of file,x0,y0,...,x4,y4 or a JSON of file: [[x, y], ...], with left eye, right "
        "eye, nose, left and right corner of the mouth as seen in the image, in pixels; files are named as below the "
        "folder given",
    )
    parser.add_argument("--wear", default="surgical", help="surgical, glasses or both (default: %(default)s)")
    parser.add_argument(
        "--cloth", default="random", help="blue, mint, white, black, rose, navy or random (default: %(default)s)"
    )
    parser.add_argument(
        "--texture", default="pleats", help="pleats, plain, weave, stripes, dots or random (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=whole(), default=0, help="of place, size, tilt and random choices (default: %(default)s)"
    )


def _add_export(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.restoration import export_command

        return export_command.run(arguments)

    parser = commands.add_parser(
        "export",
        help="write a model for other programs",
        description="Writes a trained restorer, its parameters with it, to one file that takes any number of images, "
        "and checks it against the model first. `faceflax restore --model FILE` runs both formats: onnx by onnxruntime "
        "alone, stablehlo by jax.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--model", metavar="NAME|WORKDIR", help="a model of `faceflax models`, or the workdir of one (default: cnn)"
    )
    parser.add_argument("--format", required=True, metavar="FORMAT", help="stablehlo or onnx")
    parser.add_argument(
        "--out", metavar="FILE", help="the file to write (default: the model's name, .onnx or .stablehlo)"
    )
    parser.add_argument(
        "--fidelity", type=number("from 0 to 1"), metavar="F", help="for a GAN: as for restore; settled in the file"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command in `argv` (default: the process's arguments) and exits with its status."""

    def run() -> int:
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)

    run_main(run)


if __name__ == "__main__":
    main()
