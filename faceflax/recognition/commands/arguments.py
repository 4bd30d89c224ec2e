"""The arguments of the commands on faces and people. What a command does is imported when it is called."""

import argparse
import importlib

from faceflax.arguments import COUNT, number, whole
from faceflax.errors import ended_in_order

_SAID = "A file that cannot be done is reported, the others are done, and the exit status is 1."


def add(commands: argparse._SubParsersAction) -> None:
    """Adds enroll, identify, verify, calibrate, gallery and reconstruct to the commands."""
    _add_enroll(commands)
    _add_identify(commands)
    _add_verify(commands)
    _add_calibrate(commands)
    _add_gallery(commands)
    _add_reconstruct(commands)


def _command(commands: argparse._SubParsersAction, name: str, **texts: str) -> argparse.ArgumentParser:
    def run(arguments: argparse.Namespace) -> int:
        with ended_in_order():
            return importlib.import_module(f"faceflax.recognition.commands.{name}").run(arguments)

    parser = commands.add_parser(name, **texts)
    parser.set_defaults(run=run)
    return parser


def _add_photographs(parser: argparse.ArgumentParser, several: str = "it is an error") -> None:
    """What every command takes that looks at photographs; without --largest `several` faces on one mean that."""
    parser.add_argument("--aligned", action="store_true", help="each image is a cropped face: no detector is involved")
    parser.add_argument(
        "--largest", action="store_true", help=f"of several faces on a photograph take the largest; else {several}"
    )
    parser.add_argument("--encoder", help="the face encoder (default: the gallery's, else faceres)")
    parser.add_argument(
        "--batch-size", type=COUNT, default=16, metavar="N", help="faces embedded at once (default: %(default)s)"
    )


def _add_gallery_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="URI",
        help="the database: a file's name such as faces.db, or a Milvus server, http://host:port[/database], whose "
        "token is read from $FACEFLAX_GALLERY_TOKEN",
    )


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only records with this name, consent, purpose or metadata; may be given several times",
    )


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold", type=number("from -1 to 1"), metavar="T", help="the score above which faces are one person's"
    )
    parser.add_argument("--calibration", metavar="FILE", help="a threshold measured by faceflax calibrate")


def _add_notes(parser: argparse.ArgumentParser) -> None:
    # An empty note takes the place of one that is there.
    parser.add_argument("--consent", type=str, metavar="TEXT", help="a note on the person's consent")
    parser.add_argument("--purpose", type=str, metavar="TEXT", help="a note on what this is for")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="metadata; may be given several times"
    )


def _add_enroll(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "enroll",
        help="put faces into a gallery",
        description="Puts the faces on photographs into a gallery, made where there is none. A folder of folders "
        "enrols each under its folder's name. A photograph enrolled again under a name takes its old record's place, "
        f"and keeps its notes unless others are given; one that is enrolled under another name is refused. {_SAID}",
    )
    parser.add_argument("inputs", nargs="+", metavar="PHOTO|FOLDER", help="images, or folders of them")
    _add_gallery_argument(parser)
    parser.add_argument("--name", metavar="WHO", help="the person on all of them")
    parser.add_argument(
        "--average", action="store_true", help="keep one vector for each person, the mean over the photographs"
    )
    _add_notes(parser)
    _add_photographs(parser)


def _add_identify(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "identify",
        help="say who is on photographs",
        description="Names the people of a gallery whose faces are nearest to each face on the photographs; unknown "
        f"where none is near enough. {_SAID}",
    )
    parser.add_argument("inputs", nargs="+", metavar="PHOTO|FOLDER", help="images, or folders of them")
    _add_gallery_argument(parser)
    parser.add_argument("--top", type=COUNT, default=3, metavar="K", help="people named (default: %(default)s)")
    parser.add_argument(
        "--by",
        choices=("nearest", "classifier"),
        default="nearest",
        help="the nearest enrolled vector, or a classifier that is trained on the gallery first (default: %(default)s)",
    )
    _add_where(parser)
    _add_threshold(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each face")
    _add_photographs(parser, "each is named, with its place in pixels")


def _add_verify(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "verify",
        help="say whether two photographs show one person",
        description="Compares the faces on two photographs, or on many pairs of them. A pair that cannot be compared "
        "is reported (with --json its line holds an error instead of a score), the others are done, and the exit "
        "status is 1.",
    )
    parser.add_argument("inputs", nargs="*", metavar="PHOTO", help="two photographs")
    parser.add_argument(
        "--pairs",
        metavar="FILE.csv",
        help="a CSV with the columns file_x,file_y; names are meant from here, else from the list's own folder",
    )
    _add_threshold(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each pair")
    _add_photographs(parser)


def _add_calibrate(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "calibrate",
        help="measure the threshold of recognition on your own photographs",
        description="Compares all pairs of photographs in a folder that holds a folder for each person, and writes the "
        f"threshold that lets at most --far of the pairs of different people pass. {_SAID}",
    )
    parser.add_argument("folder", metavar="FOLDER", help="a folder with a folder of photographs for each person")
    parser.add_argument(
        "--far",
        type=number("between 0 and 1"),
        default=1e-3,
        metavar="RATE",
        help="the rate of false acceptance (default: %(default)s)",
    )
    parser.add_argument(
        "--out", default="calibration.json", metavar="FILE", help="what --calibration takes (default: %(default)s)"
    )
    parser.add_argument(
        "--groups",
        metavar="FILE.csv",
        help="a CSV with the columns person,group: also says what the threshold does within each group",
    )
    _add_photographs(parser)


def _add_gallery(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "gallery", help="list, show, update, delete, check or export what a gallery holds")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        _add_gallery_argument(added)
        return added

    def choosing(name: str, text: str) -> argparse.ArgumentParser:
        added = action(name, text)
        added.add_argument(
            "--name", action="append", metavar="WHO", help="only this person; may be given several times"
        )
        _add_where(added)
        return added

    choosing("list", "the people, and how many photographs of each").add_argument("--json", action="store_true")
    choosing("show", "all records, a line of JSON each")
    update = choosing("update", "change notes and metadata of records; no file holds the old ones afterwards")
    _add_notes(update)
    delete = choosing("delete", "delete records for good: no file of an embedded gallery holds them afterwards")
    delete.add_argument(
        "--photograph",
        nargs="+",
        metavar="FILE",
        help="only the records of these photographs, by their content; none can be taken out of an average",
    )
    for each in (update, delete):
        each.add_argument("--all", action="store_true", help="everybody")
    check = action("check", "measure how many of the nearest vectors the gallery's index finds, against brute force")
    check.add_argument("--queries", type=COUNT, default=200, metavar="N", help="searches (default: %(default)s)")
    export = choosing("export", "write a training set: the vectors as a tfds dataset, or the people's photographs")
    export.add_argument("--out", required=True, metavar="DIR", help="where it goes; made for its owner alone")
    export.add_argument(
        "--photographs",
        nargs="+",
        metavar="PHOTO|FOLDER",
        help="where the enrolled photographs are: they are found by their content, and copied to DIR/PERSON/",
    )


def _add_reconstruct(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "reconstruct",
        help="make a face from the feature vectors of an enrolled person",
        description="Makes a face from the mean of a person's vectors in a gallery, with a strip that says what it is: "
        "an estimate. It shows what a stored vector gives away, not what somebody looks like.",
    )
    _add_gallery_argument(parser)
    parser.add_argument("--name", required=True, metavar="WHO", help="the person")
    parser.add_argument("--out", default="estimate.png", metavar="FILE.png", help="the picture (default: %(default)s)")
    parser.add_argument(
        "--size", type=whole("of pixels"), default=256, metavar="PIXELS", help="its side (default: %(default)s)"
    )
