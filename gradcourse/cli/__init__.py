"""The command ``gradcourse``: open the course, run lessons, check claims, describe the machine.

Every answer to a mistake is one sentence on standard error. Exit codes: 0 for success, 1 for a
lesson that failed or a claim that is false, 2 for a request that cannot be carried out as written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradcourse import __version__
from gradcourse.cli.course import Refusal

__all__ = ["main"]

DESCRIPTION = "See what happens to a gradient in a deep or recurrent network."
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after ``gradcourse``; ``None`` takes them from the shell.
    """
    for stream in (sys.stdout, sys.stderr):
        # A Windows console may lack a sign that a lesson prints; a "?" is better than a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    asked = _parser().parse_args(arguments)
    try:
        return _dispatch(asked)
    except Refusal as refusal:
        print(f"gradcourse: {refusal}", file=sys.stderr)
        return refusal.code
    except KeyboardInterrupt:
        print("gradcourse: stopped", file=sys.stderr)
        return INTERRUPTED


def _dispatch(asked: argparse.Namespace) -> int:
    # Each command imports its own tools: --help answers without loading torch or papermill.
    if asked.command == "lab":
        from gradcourse.cli.lab import lab

        return lab(asked.folder, port=asked.port, browser=asked.browser, beside=asked.new)
    if asked.command == "run":
        from gradcourse.cli.run import run

        return run(asked.lessons, parameters=asked.parameters, folder=asked.output)
    if asked.command == "claims":
        from gradcourse.cli.ledger import check_claims

        return check_claims(asked.lessons, seeds=asked.seeds, jobs=asked.jobs)
    if asked.command == "lecture":
        from gradcourse.cli.lecture import lecture, print_notes

        if asked.notes:
            return print_notes(asked.lesson)
        return lecture(
            asked.lesson,
            host=asked.host,
            port=asked.port,
            browser=asked.browser,
            scheme=asked.scheme,
        )
    from gradcourse.cli.info import info

    return info()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gradcourse", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"gradcourse {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    lab = commands.add_parser(
        "lab",
        help="open the course in JupyterLab, in a folder of your own",
        description="Copy the notebooks into a folder of your own and open JupyterLab there. "
        "A notebook that you changed is never overwritten.",
    )
    lab.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("gradcourse-notebooks"),
        metavar="DIR",
        help="your folder (default: gradcourse-notebooks)",
    )
    lab.add_argument("--port", type=_port, help="the port that JupyterLab listens on")
    lab.add_argument(
        "--no-browser", dest="browser", action="store_false", help="open no browser window"
    )
    lab.add_argument(
        "--new",
        action="store_true",
        help="put the course's version beside each notebook that you changed, as NAME.new.ipynb",
    )

    run = commands.add_parser(
        "run",
        help="execute lessons and keep the executed notebooks",
        description="Execute lessons from top to bottom and keep the executed notebooks. "
        "An error anywhere, a widget's callback included, makes the run fail.",
    )
    run.add_argument("lessons", nargs="+", metavar="LESSON", help="01, a name, or part of one")
    run.add_argument(
        "-p",
        "--parameter",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the lesson, such as depth=80 (may be repeated)",
    )
    run.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("gradcourse-runs"),
        metavar="DIR",
        help="where the executed notebooks go (default: gradcourse-runs)",
    )

    claims = commands.add_parser(
        "claims",
        help="run lessons and print every claim with its measurement",
        description="Run lessons (all, unless some are named) and print the ledger of claims.",
    )
    claims.add_argument("lessons", nargs="*", metavar="LESSON", help="01, a name, or part of one")
    claims.add_argument(
        "--seeds",
        type=_count,
        default=0,
        metavar="N",
        help="repeat each lesson with seed=1 to N and count how often each claim is true",
    )
    claims.add_argument(
        "-j",
        "--jobs",
        type=_count,
        default=1,
        metavar="N",
        help="run N lessons at the same time (default: 1)",
    )

    lecture = commands.add_parser(
        "lecture",
        help="show a lesson's live figures on a projector, one slide each",
        description="Show a lesson as slides, its live figures with large controls. "
        "The page asks no other host for anything. Press ? in it for its keys.",
    )
    lecture.add_argument("lesson", metavar="LESSON", help="01, a name, or part of one")
    lecture.add_argument("--port", type=_port, help="the port to listen on")
    lecture.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; 0.0.0.0 opens the lecture, unencrypted, to your network, "
        "for whoever has the address with its token (default: this machine only)",
    )
    lecture.add_argument(
        "--no-browser", dest="browser", action="store_false", help="open no browser window"
    )
    looks = lecture.add_mutually_exclusive_group()
    for scheme in ("light", "dark"):
        looks.add_argument(
            f"--{scheme}",
            dest="scheme",
            action="store_const",
            const=scheme,
            help=f"start {scheme}, whatever the browser prefers",
        )
    lecture.add_argument(
        "--notes", action="store_true", help="print the lecturer's notes instead, and exit"
    )

    commands.add_parser("info", help="print versions, the device and why it was chosen, memory")
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text!r}")
    return int(text)
