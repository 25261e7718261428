"""The command line: ``miha``, or ``python -m miha``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from miha import __version__
from miha.errors import MihaError

if TYPE_CHECKING:
    # At run time the class takes no parameter.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """\
examples:
  miha demo                                  handwritten digits, with MIHA and without
  miha list                                  the runs under logs/
  miha show logs/mnist                       a run in words, and who won each cycle
  miha report logs/mnist                     one HTML page with figures and all clones
  miha watch logs/mnist                      the same page, live while the run goes on
  miha compare-runs logs/a logs/b            several runs side by side
  miha export logs/mnist --model model_3 --to network.keras
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Its words; None: those of the process.

    Returns:
        The exit status: 0, 1 when the command failed, 2 when it was not understood.
    """
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.needs_run:
            from miha.report.terminal import check_run

            check_run(chosen.folder)
        chosen.run(chosen)
    except MihaError as error:
        print(f"miha: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # As shells call a command that Ctrl-C has ended.
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="miha",
        description="Look at runs of MIHA: finished, running or interrupted. Nothing that a run "
        "has written is changed. `miha demo` makes one.",
        epilog=EXAMPLES,
        # The default one would join the lines of the examples.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"miha {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_show(commands)
    _add_list(commands)
    _add_report(commands)
    _add_watch(commands)
    _add_compare_runs(commands)
    _add_export(commands)
    return parser


def _add_command(
    commands: Commands, name: str, help: str, description: str
) -> argparse.ArgumentParser:
    """Add a command that needs the folder of a run."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=description)
    folder = "the run's folder, e.g. logs/mnist"
    command.add_argument("folder", metavar="RUN", type=Path, help=folder)
    command.set_defaults(needs_run=True)
    return command


def _add_demo(commands: Commands) -> None:
    command = commands.add_parser(
        "demo",
        help="train a small network, with MIHA and without",
        description="Train a network on handwritten digits from a poor start: with MIHA, without, "
        "and as a textbook would, all for as many epochs. It takes two minutes at most.",
    )
    command.add_argument("--cycles", type=int, default=10, help="cycles of mutation (default: 10)")
    command.add_argument("--seed", type=int, default=0, help="decides every random draw")
    command.add_argument("--logs", metavar="RUN", type=Path, help="the run's folder")
    command.set_defaults(run=_demo, needs_run=False)


def _add_show(commands: Commands) -> None:
    command = _add_command(
        commands,
        "show",
        help="a run in words, and its lineage",
        description="Print a run's summary and who won each of its cycles.",
    )
    command.add_argument("--all", action="store_true", help="every clone, not the winners only")
    command.add_argument(
        "--metric",
        metavar="NAME",
        action="append",
        help="another logged value beside the monitored one, e.g. val_accuracy; several are taken",
    )
    command.set_defaults(run=_show)


def _add_list(commands: Commands) -> None:
    command = commands.add_parser(
        "list",
        help="the runs in a folder",
        description="Print the runs in a folder: state, cycles, best value, metric of the best "
        "network, size on the disk, when they began.",
    )
    command.add_argument(
        "folder",
        metavar="LOGS",
        type=Path,
        nargs="?",
        default=Path("logs"),
        help="the folder that holds the runs' folders (default: logs)",
    )
    command.add_argument(
        "--sort",
        choices=["name", "best", "size", "started"],
        default="name",
        help="what comes first: by name (default), the best value, the largest, the latest",
    )
    command.set_defaults(run=_list, needs_run=False)


def _add_report(commands: Commands) -> None:
    command = _add_command(
        commands,
        "report",
        help="write one HTML page of a run",
        description="Write one self-contained HTML page: summary, figures, a table of all "
        "clones. It needs no network.",
    )
    command.add_argument(
        "--to", metavar="FILE", type=Path, help="the page (default: report.html in the folder)"
    )
    command.add_argument(
        "--importance",
        action="store_true",
        help="compute which hyperparameters matter: seconds, and at least fifty clones",
    )
    command.add_argument("--open", action="store_true", help="show it in the browser")
    command.set_defaults(run=_report)


def _add_watch(commands: Commands) -> None:
    command = _add_command(
        commands,
        "watch",
        help="the page of a run, live",
        description="Serve the page of a run to this computer only (127.0.0.1); it follows the "
        "run as it goes on, and waits for one that has not begun. Ctrl-C ends it, the run goes on.",
    )
    command.add_argument(
        "--port", type=_port, default=0, help="where to listen (default: a free port)"
    )
    command.add_argument("--open", action="store_true", help="show it in the browser")
    # A run that has not begun is waited for.
    command.set_defaults(run=_watch, needs_run=False)


def _add_compare_runs(commands: Commands) -> None:
    command = commands.add_parser(
        "compare-runs",
        help="several runs side by side",
        description="Print the outcomes and the settings of several runs side by side; where they "
        "differ, a line is marked.",
    )
    command.add_argument(
        "folders", metavar="RUN", type=Path, nargs="+", help="the runs' folders, two or more"
    )
    command.add_argument(
        "--to",
        metavar="FILE",
        type=Path,
        help="write one HTML page with the best so far of all runs in one figure",
    )
    command.set_defaults(run=_compare_runs, needs_run=False)


def _add_export(commands: Commands) -> None:
    command = _add_command(
        commands,
        "export",
        help="a network of a run as a file for others",
        description="Write one of a run's networks as Keras exports it.",
    )
    command.add_argument(
        "--model",
        metavar="NAME",
        default="best",
        help="best (default), last, or an archive's name: model_3, model_final, 2_1_model",
    )
    command.add_argument(
        "--to",
        metavar="PATH",
        type=Path,
        required=True,
        help="NAME.keras, NAME.onnx, or a new folder for TensorFlow's SavedModel",
    )
    command.add_argument(
        "--trust",
        action="store_true",
        help="load archives that hold code (Lambda layers): your own only, it will be run",
    )
    command.set_defaults(run=_export)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a number of 0 to 65535, not {text!r}")
    return int(text)


# The commands import what they need when they are called: `miha --help` must not wait for pandas.


def _demo(chosen: argparse.Namespace) -> None:
    from miha.demo.digits import run_demo

    run_demo(chosen.cycles, chosen.seed, chosen.logs)


def _show(chosen: argparse.Namespace) -> None:
    from miha.report.terminal import print_run

    print_run(chosen.folder, chosen.all, chosen.metric or ())


def _list(chosen: argparse.Namespace) -> None:
    from miha.report.listing import print_runs

    print_runs(chosen.folder, chosen.sort)


def _report(chosen: argparse.Namespace) -> None:
    from miha.report.page import write_report
    from miha.results.reader import load_run

    path = write_report(load_run(chosen.folder), chosen.to, chosen.importance)
    print(path)
    if chosen.open:
        webbrowser.open(path.absolute().as_uri())


def _watch(chosen: argparse.Namespace) -> None:
    from miha.report.server import address, make_server
    from miha.storage.folder import RunFolder

    try:
        server = make_server(chosen.folder, chosen.port)
    except OSError as error:
        raise MihaError(
            f"`--port` must be free. Received: {chosen.port}: {error.strerror}. Leave it out to "
            "find a free one."
        ) from error
    # The run itself comes first; Windows has no `nice`.
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"Watching {chosen.folder} at {address(server)} (Ctrl-C ends this)", flush=True)
        if not RunFolder(chosen.folder).has_run:
            print("There is no run yet: the page shows it as soon as it begins.", flush=True)
        if chosen.open:
            webbrowser.open(address(server))
        server.serve_forever()


def _compare_runs(chosen: argparse.Namespace) -> None:
    from miha.report.compared import RunsCompared
    from miha.report.terminal import check_run

    for folder in chosen.folders:
        check_run(folder)
    runs = RunsCompared.of(chosen.folders)
    runs.print()
    if chosen.to is not None:
        print(runs.write(chosen.to))


def _export(chosen: argparse.Namespace) -> None:
    from miha.results.export import describe_network, export

    path = export(chosen.folder, chosen.model, chosen.to, trust=chosen.trust)
    print(f"{path}: {describe_network(chosen.folder, chosen.model)}")
