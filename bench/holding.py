"""Sessions that are held: what they take of memory, and what a message costs among so many of them."""

from __future__ import annotations

import resource
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bench.load.generator import LoadError
from bench.load.work import Active, Crowd, Leave, Session
from bench.processes import cpu_seconds_at_rest, resident_bytes
from bench.results import Held
from bench.servers.server import Key, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load.work import TlsVerb
    from bench.measuring import Bench
    from bench.rounds import Rounds
    from bench.servers.server import Server

_THOUSAND = 1_000
MANY = 10_000
ACTIVE = 1_000
_MESSAGES_OF_AN_ACTIVE_ONE = 10
# Besides its sessions a process has some descriptors open.
_OTHER_DESCRIPTORS = 200
GROWTH = (1, 10, 100, 1_000, 5_000)
_MESSAGES = 1_000
# Messages: what is loaded at first use is loaded.
_WARM_UP = 500
_MICRO = 1e6


def raise_descriptor_limit() -> int:
    """Let this process and those that it starts have as many descriptors as it may, and return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def memory(
    bench: Bench, servers: Sequence[Server], big: Sequence[Server], descriptors: int
) -> tuple[list[Held], dict[str, str]]:
    """Hold a thousand sessions at each server, in clear and under TLS; ten thousand at the *big* ones, a tenth active.

    Each time at a server that has just been started: what it has once taken it seldom gives back.  A server
    that cannot hold them is in the second answer, with what happened instead.
    """
    many = min(MANY, descriptors - _OTHER_DESCRIPTORS)
    found = []
    failed = {}
    for server in servers:
        for count in (_THOUSAND, many) if server in big else (_THOUSAND,):
            for verb in (None, _best_verb(server)) if server.verbs else (None,):
                what = f"{count:,} sessions {f'after {verb}' if verb else 'in clear'}: {server.name}"
                bench.say(what)
                try:
                    found.append(_held(bench, server, verb, count))
                except (LoadError, SetupError) as error:
                    failed[what] = str(error)
                    # Those that were opened are held no longer.
                    with suppress(LoadError):
                        bench.generator.do(Leave())
    return found, failed


def _best_verb(server: Server) -> TlsVerb:
    return "X-ANONYMOUSTLS" if "X-ANONYMOUSTLS" in server.verbs else "STARTTLS"


def _held(bench: Bench, server: Server, verb: TlsVerb | None, count: int) -> Held:
    key = Key.EC if verb and Key.EC in server.keys else Key.RSA
    session = Session(_MESSAGES_OF_AN_ACTIVE_ONE, tls=verb)
    with bench.server(server, f"{server.name}-{count}-{verb}", warm_up=_WARM_UP) as at:
        before = resident_bytes(at.process)
        bench.generator.do(Crowd(at.address(key), session, count))
        cpu_seconds_at_rest(at.process)
        resident = resident_bytes(at.process)
        sent = bench.generator.do(Active(ACTIVE if count > ACTIVE else 0))
        bench.generator.do(Leave())
    return Held(server.name, verb, count, before, resident, ACTIVE if sent.messages else 0, sent.messages)


def growth(bench: Bench, servers: Sequence[Server], rounds: Rounds) -> dict[str, dict[int, list[float]]]:
    """Return what a message costs while so many sessions send at once, in alternation: CPU µs by server and sessions."""
    found: dict[str, dict[int, list[float]]] = {each.name: {} for each in servers}
    with ExitStack() as stack:
        started = [stack.enter_context(bench.server(each, f"{each.name}-growth")) for each in servers]
        for turn in rounds:
            for count in GROWTH:
                bench.say(f"round {turn} of {rounds.most}: {count:,} sessions that send")
                session = Session(max(1, _MESSAGES // count))
                for at in started:
                    bench.generator.do(Crowd(at.address(), session, count))
                    before = cpu_seconds_at_rest(at.process)
                    sent = bench.generator.do(Active(count))
                    spent = cpu_seconds_at_rest(at.process) - before
                    bench.generator.do(Leave())
                    found[at.server.name].setdefault(count, []).append(spent / sent.messages * _MICRO)
    return found
