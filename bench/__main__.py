"""The receiver beside other servers on the same work: ``python -m bench``.

Servers run on this machine, on loopback, each in a process of its own, and take turns at the same work.
What is measured is the CPU time of a server per message, with all its processes and threads; the rate by
the wall clock stands beside it.  Compare figures inside one run only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.keys import make_keys
from bench.load.generator import LoadError, LoadGenerator
from bench.machine import load_average, this_machine
from bench.measuring import Bench, installed
from bench.results import Results, to_json
from bench.servers.node import PEERS
from bench.servers.peers import Aiosmtpd, SmtpSink
from bench.servers.receiver import VARIANTS
from bench.servers.server import Server, SetupError
from bench.tables import in_columns, work_table
from bench.works import chosen, works

SERVERS: tuple[Server, ...] = (*VARIANTS, Aiosmtpd(), *PEERS, SmtpSink())


def main() -> int:
    """Measure what was asked for, and print it."""
    given = _options().parse_args()
    catalogue = list(works())
    if given.list:
        print("\n".join(each.name for each in catalogue))
        return 0
    names = chosen(given.only or ["*"], (each.name for each in catalogue))
    if not names:
        print(f"no work is called {' or '.join(given.only)}; --list shows them", file=sys.stderr)
        return 2
    wanted = [each for each in SERVERS if not given.servers or each.name in given.servers.split(",")]
    servers, missing = installed(wanted)
    machine = this_machine()
    results = Results(machine, given.rounds, {each.name: each.title for each in servers}, missing)
    # A server and its senders each have a CPU of their own, where there are two.
    here, there = (0, 1) if (os.cpu_count() or 1) > 1 and not given.no_pin else (None, None)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            LoadGenerator(given.processes, cpu=there) as generator,
        ):
            bench = Bench(Path(folder) / "servers", make_keys(Path(folder) / "keys"), generator, here, _say)
            some = [each for each in catalogue if each.name in names]
            results.works = bench.alternate(servers, some, given.rounds)
    except (LoadError, SetupError) as error:
        print(error, file=sys.stderr)
        return 1
    results.machine = replace(machine, load_average=(machine.load_average[0], load_average()))
    print(to_json(results) if given.json else _text(results))
    return 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--only", action="append", metavar="NAME", help="work by name or pattern, e.g. '1kb-*/plain'"
    )
    options.add_argument("--servers", metavar="NAMES", help="servers by name, with commas")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--processes", type=int, default=1, help="of senders (default 1)")
    options.add_argument("--no-pin", action="store_true", help="let servers and senders run on any CPU")
    options.add_argument("--json", action="store_true", help="print the results as JSON")
    options.add_argument("--list", action="store_true", help="print the names of all work")
    return options


def _say(what: str) -> None:
    print(what, file=sys.stderr)


def _text(results: Results) -> str:
    lines = []
    for name, cells in results.works.items():
        if cells:
            lines += [name, *(f"  {line}" for line in in_columns(work_table(results, name))), ""]
    lines += [f"not measured: {name}: {why}" for name, why in results.missing.items()]
    machine = results.machine
    begin, end = machine.load_average
    lines.append(
        f"{machine.at}, {machine.processor}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}, "
        f"{machine.openssl}, load average {begin:g} to {end:g}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
