"""The arguments of `faceflax serve`. What it does is imported when it is called."""

import argparse

from faceflax.arguments import COUNT, number, whole


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""

    def run(arguments: argparse.Namespace) -> int:
        from faceflax.serving import command

        return command.run(arguments)

    parser = commands.add_parser(
        "serve",
        help="a web page that damages and restores photographs",
        description="Serves a web page to this computer's browser, until it is stopped. What is uploaded is removed "
        "after half an hour, and at the end. The page and the server call nobody else.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve at (default: %(default)s)")
    parser.add_argument(
        "--port", type=whole("from 0 to 65535"), default=7860, help="0: a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME|WORKDIR|FILE",
        help="a model to choose, listed before those of `faceflax models`; of these a name, to be chosen at first; may "
        "be repeated",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        help="a further name by which browsers may ask for the page, as of a proxy before it; may be repeated",
    )
    parser.add_argument("--aligned", action="store_true", help="only face crops, so that no face detector is needed")
    parser.add_argument(
        "--max-megabytes", type=number("over 0"), default=20, metavar="N", help="of a file (default: %(default)s)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=number("over 0"),
        default=16,
        metavar="N",
        help="of a photograph (default: %(default)s)",
    )
    parser.add_argument(
        "--per-minute", type=COUNT, default=30, metavar="N", help="requests of one client (default: %(default)s)"
    )
    parser.add_argument(
        "--queue", type=COUNT, default=16, metavar="N", help="requests that may wait, others are refused (%(default)s)"
    )
