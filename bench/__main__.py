"""The receiver beside other servers on the same work: ``python -m bench``.

Servers run on this machine, on loopback, each in a process of its own, and take turns at the same work.
What is measured is the CPU time of a server per message, with all its processes and threads; the rate by
the wall clock stands beside it.  Compare figures inside one run only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.load.generator import LoadError
from bench.publishing import publish
from bench.report import text_of
from bench.results import from_json, to_json
from bench.run import SERVERS, Plan, carry_out, every_name, usual_processes
from bench.servers.server import SetupError


def main() -> int:
    """Measure what was asked for, and print it."""
    given = _options().parse_args()
    plan = Plan(
        given.only or [],
        given.servers.split(",") if given.servers else [],
        given.rounds,
        given.minutes,
        given.processes,
        pinned=not given.no_pin,
    )
    if given.list:
        print("\n".join(every_name()))
        return 0
    if problem := _problem(plan, given):
        print(f"python -m bench: {problem}", file=sys.stderr)
        return 2
    try:
        results = from_json(given.render.read_text("utf-8")) if given.render else carry_out(plan, _say)
    except (LoadError, SetupError, OSError, ValueError) as error:
        print(f"python -m bench: {error}", file=sys.stderr)
        return 1
    print(to_json(results) if given.json else text_of(results))
    if given.write:
        publish(results)
    return 0


def _problem(plan: Plan, given: argparse.Namespace) -> str | None:
    """Return what is wrong with what was asked for."""
    unknown = set(plan.servers) - {each.name for each in SERVERS}
    if not plan.names:
        return f"nothing is called {' or '.join(plan.only)}; --list shows the names"
    if unknown:
        known = ", ".join(each.name for each in SERVERS)
        return f"--servers: {', '.join(sorted(unknown))}: there are {known}"
    if plan.rounds < 1 or plan.processes < 1:
        return "--rounds and --processes are at least 1"
    if given.write and (plan.only or plan.servers):
        return "--write publishes whole runs: what stands side by side was measured side by side"
    return None


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a work or part by name or pattern, e.g. '1kb-*/plain'",
    )
    options.add_argument("--servers", metavar="NAMES", help="servers by name, with commas")
    options.add_argument("--rounds", type=int, default=5, help="in alternation, at most (default 5)")
    options.add_argument(
        "--minutes", type=float, default=25, help="for all of it: rounds that would take longer are left out"
    )
    options.add_argument(
        "--processes",
        type=int,
        default=usual_processes(),
        help="of senders (default: one for each CPU but that of the servers)",
    )
    options.add_argument("--no-pin", action="store_true", help="let servers and senders run on any CPU")
    options.add_argument("--json", action="store_true", help="print the results as JSON")
    options.add_argument("--list", action="store_true", help="print the names of all works and parts")
    options.add_argument(
        "--write", action="store_true", help="write tables and pictures into README.md and docs"
    )
    options.add_argument(
        "--render", type=Path, metavar="FILE", help="measure nothing: take the results of a file"
    )
    return options


def _say(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
