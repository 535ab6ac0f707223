"""Which connector really listens where: the configuration's bindings, and the ports that the system gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from smtpd_anontls.domain.matching import Bound, match
from smtpd_anontls.smtp.listener import ListenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from smtpd_anontls.domain.connectors import Server
    from smtpd_anontls.domain.endpoints import Binding, IPAddress
    from smtpd_anontls.domain.matching import NotTaken, Taken
    from smtpd_anontls.settings.values import Settings

    OnFailure = Callable[[ListenError], None] | None
    # A connector's binding to port 0, by server and connector.
    Place = tuple[str, str, Binding]

# Peers of which it is known who takes them.
_REMEMBERED = 1000


class Opens(Protocol):
    """Listens, whether it accepts what comes there itself or others do."""

    async def listen(self, bindings: Iterable[Binding], *, on_failure: OnFailure = None) -> set[Binding]:
        """Listen on exactly *bindings*, and return which are open; see smtp.listener.Listener."""
        ...

    async def open(self, binding: Binding) -> Binding | None:
        """Listen on one binding and return it with its real port; None where this machine cannot have it."""
        ...


@dataclass(frozen=True, slots=True)
class Bindings:
    """The connectors with the bindings under which they listen."""

    bound: tuple[Bound, ...] = ()
    # The real binding of each binding to port 0, which the connector keeps.
    given: Mapping[Place, Binding] = field(default_factory=dict)

    # What was said of the last peers: most come again, and asking anew takes a look at every connector.
    _said: dict[object, Taken | NotTaken] = field(default_factory=dict, init=False, repr=False, compare=False)
    _proxied: Sequence[Bound] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_proxied", [each for each in self.bound if each.connector.proxy_protocol])

    def match(self, local: tuple[IPAddress, int], remote: IPAddress) -> Taken | NotTaken:
        """Return the connector that takes a connection from *remote* to *local*, or why none does."""
        said = self._said.get((local, remote))
        if said is None:
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            said = self._said[local, remote] = match(self.bound, local, remote)
        return said

    def trusts(self, proxy: IPAddress, local: tuple[IPAddress, int]) -> bool:
        """Whether *proxy* is a trusted proxy of a connector that listens on *local*."""
        return any(
            trusted.covers(proxy)
            for bound in self._proxied
            if bound.binding.covers(*local)
            for trusted in bound.connector.trusted_proxies
        )

    def address(self, connector: str, server: str | None = None) -> tuple[str, int]:
        """Return host and port on which *connector* listens; KeyError where it does not."""
        for each in self.bound:
            if each.connector.name == connector and server in {None, each.server.name}:
                return str(each.binding.address), each.binding.port
        raise KeyError(f"no connector {connector!r} listens")

    def are_whole(self, settings: Settings, server: str, connector: str) -> bool:
        """Whether a connector of *settings* listens on all of its bindings, or is not to."""
        wanted = [
            binding
            for each in settings.servers
            for one in each.server.connectors
            if (each.server.name, one.name) == (server, connector) and one.enabled
            for binding in one.bindings
        ]
        found = [
            each for each in self.bound if (each.server.name, each.connector.name) == (server, connector)
        ]
        return not wanted or len(found) == len(wanted)


async def bind(
    listener: Opens, servers: Sequence[Server], before: Bindings, *, on_failure: OnFailure = None
) -> Bindings:
    """Listen on the bindings of all enabled connectors, keeping the sockets that stay.

    Where one cannot be listened on, *on_failure* is told; without it ListenError is raised.
    """
    wanted = [(s, c, b) for s in servers for c in s.connectors if c.enabled for b in c.bindings]
    places = [(s.name, c.name, b) for s, c, b in wanted if not b.port]
    given = {place: before.given[place] for place in places if place in before.given}
    fixed = [binding for _, _, binding in wanted if binding.port]
    listening = await listener.listen([*fixed, *given.values()], on_failure=on_failure)
    for place in places:
        # Port 0 gives each connector a port of its own.
        if place not in given and (opened := await _open(listener, place[2], on_failure)) is not None:
            given[place] = opened
    bound = []
    for server, connector, binding in wanted:
        real = binding if binding.port else given.get((server.name, connector.name, binding))
        if real is not None and (real in listening or not binding.port):
            bound.append(Bound(server, connector, real))
    return Bindings(tuple(bound), given)


async def _open(listener: Opens, binding: Binding, on_failure: OnFailure) -> Binding | None:
    try:
        return await listener.open(binding)
    except ListenError as error:
        if on_failure is None:
            raise
        on_failure(error)
        return None
