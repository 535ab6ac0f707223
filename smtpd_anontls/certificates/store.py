"""The local computer store of one server: a folder of certificates and keys, as it is at this moment.

Every question first compares the folder's names and stamps, a few microseconds a file, and reads
again only what changed.  So a session sees the store as it is when the peer connects: there is no
watcher's delay to wait for, and nothing that could get out of step with the folder.

What counts in the folder:

- ``*.pem``, ``*.crt``, ``*.cer``, ``*.der``: certificates, as PEM (any number of them) or DER;
- ``*.pfx``, ``*.p12``: a private key with its certificate and chain;
- a private key in any of these files or in a ``*.key``, as PEM or DER: it belongs to the
  certificate that has its public key.  Where none has, the keys in the certificate's own file and
  in ``x.key``, ``x-key.pem`` or ``x.pfx`` beside ``x.crt`` say what is the matter;
- the password of a PFX file or of an encrypted key is where certificate_passwords says;
- a certificate that issued another of the same file is part of that one's chain;
- ``services.yaml``: for which services the certificates are enabled;
- ``exported.yaml``: what the export of another server says of them, whose private keys are there.

Hidden files, ``README*``, folders and files of other names are passed over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from smtpd_anontls.certificates.contexts import ContextError, direct_trust_context, server_context
from smtpd_anontls.certificates.entries import index
from smtpd_anontls.certificates.ephemeral import EphemeralCertificates
from smtpd_anontls.certificates.folder import MAX_FILES, FolderRead, is_current, read
from smtpd_anontls.certificates.stand_ins import StandInError
from smtpd_anontls.domain.certificate import KeyState
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from OpenSSL import SSL

    from smtpd_anontls.certificates.contents import HeldKey
    from smtpd_anontls.certificates.entries import Entry
    from smtpd_anontls.certificates.passwords import PasswordSource
    from smtpd_anontls.certificates.stand_ins import StandIns
    from smtpd_anontls.domain.certificate import Certificate, StoreCertificate
    from smtpd_anontls.domain.tls_policy import TlsPolicy

    Make = Callable[[Sequence[x509.Certificate], PrivateKeyTypes, TlsPolicy], "T"]

T = TypeVar("T")


class StoreError(Exception):
    """The store, or a certificate in it, cannot be used; one line says what and what would do."""


class KeyElsewhereError(StoreError):
    """A certificate cannot be loaded here, since its private key is on the server that it was exported from."""


@dataclass(frozen=True, slots=True)
class _State:
    """The folder as it was read, and its certificates by thumbprint, in the order of their files."""

    folder: FolderRead
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    """A context, and what it was made from."""

    entry: Entry
    context: T

    def fits(self, entry: Entry | None) -> bool:
        """Whether neither the certificate's file nor the key's has changed since."""
        return entry is not None and self.entry.source is entry.source and self.entry.key is entry.key


class _Contexts(Generic[T]):
    """The contexts of one kind, each made when it is first asked for."""

    def __init__(self, make: Make[T]) -> None:
        self._make = make
        self._kept: dict[tuple[str, TlsPolicy], _Kept[T]] = {}
        self._building = asyncio.Lock()

    async def get(self, thumbprint: str, entry: Entry, key: HeldKey, policy: TlsPolicy) -> T:
        wanted = (thumbprint.upper(), policy)
        kept = self._kept.get(wanted)
        if kept is None or not kept.fits(entry):
            async with self._building:
                kept = self._kept.get(wanted)
                if kept is None or not kept.fits(entry):
                    kept = _Kept(entry, await asyncio.to_thread(self._build, entry, key, policy))
                    self._kept[wanted] = kept
        return kept.context

    def drop_what_is_gone(self, find: Callable[[str], Entry | None]) -> None:
        self._kept = {wanted: kept for wanted, kept in self._kept.items() if kept.fits(find(wanted[0]))}

    def _build(self, entry: Entry, key: HeldKey, policy: TlsPolicy) -> T:
        chain = [held.parsed for held in entry.source.chain_of(entry.held)]
        try:
            return self._make(chain, key.private_key, policy)
        except ContextError as error:
            raise StoreError(f"{entry.shown.file}: {error}") from error


_NO_PASSWORDS: Mapping[str, PasswordSource] = MappingProxyType({})


def say_nothing(_warning: str) -> None:
    """Take a warning that nobody asked for."""


class LocalComputerStore:
    """The certificates of a folder, always as they are now; a broken file is one warning and harms no other."""

    def __init__(
        self,
        folder: Path,
        *,
        passwords: Mapping[str, PasswordSource] = _NO_PASSWORDS,
        ephemeral: EphemeralCertificates | None = None,
        stand_ins: StandIns | None = None,
        on_warning: Callable[[str], None] = say_nothing,
    ) -> None:
        self._folder = folder
        self._passwords = dict(passwords)
        self._ephemeral = ephemeral or EphemeralCertificates()
        self._stand_ins = stand_ins
        self._on_warning = on_warning
        self._state = _State(FolderRead(), MappingProxyType({}))
        self._contexts = _Contexts(server_context)
        self._direct_trust_contexts = _Contexts(direct_trust_context)
        self._reading = asyncio.Lock()
        self._begun = 0  # Readings by number: the last that began, and the last that came to its end.
        self._taken = 0

    @property
    def folder(self) -> Path:
        """The folder that it shows."""
        return self._folder

    @property
    def passwords(self) -> Mapping[str, PasswordSource]:
        """Where the passwords of its files stand, by file name."""
        return MappingProxyType(self._passwords)

    def shows_the_same_as(self, other: LocalComputerStore) -> bool:
        """Whether both show one folder, with passwords from the same places."""
        return (self._folder, self._passwords) == (other._folder, other._passwords)

    def load(self) -> None:
        """Read the folder before the first session; StoreError where there is none, a warning where it is empty."""
        state = self._read(self._state)
        if state.folder.problem is not None:
            raise StoreError(printable(f"{self._folder}: {state.folder.problem}"))
        self._take(state)
        if not state.entries:
            self._warn("holds no certificate; `smtpd-anontls certificate new` makes one")

    def known(self) -> Mapping[str, Entry] | None:
        """Return what the folder holds, where that needs no reading: the same object until something changes."""
        return self._state.entries if is_current(self._folder, self._state.folder) else None

    async def find(self, thumbprint: str) -> StoreCertificate | None:
        """Return the certificate with this thumbprint, usable or not; None where there is none."""
        entry = (await self._entries()).get(thumbprint.upper())
        return None if entry is None else entry.shown

    async def all(self) -> Sequence[StoreCertificate]:
        """Return every certificate, in the order of the file names."""
        return [entry.shown for entry in (await self._entries()).values()]

    async def ephemeral(self, names: Sequence[str], now: datetime) -> Certificate:
        """Return the self-signed certificate for *names* that is in memory alone; the first question makes it."""
        return (await self._ephemeral.made_for(names, now)).held.certificate

    async def stand_in(self, thumbprint: str) -> Certificate | None:
        """Return the look-alike that is presented in place of this certificate of another server.

        None where nothing stands in; StoreError where no look-alike can be made.
        """
        found = await self.find(thumbprint)
        if self._stand_ins is None or found is None or found.key is not KeyState.ELSEWHERE:
            return None
        try:
            return await self._stand_ins.standing_in_for(found.certificate)
        except StandInError as error:
            raise StoreError(f"{found.file}: {error}") from error

    async def context(self, thumbprint: str, policy: TlsPolicy) -> ssl.SSLContext:
        """Return the server context that presents this certificate; StoreError where it cannot be loaded.

        The same one is returned until the certificate's file or its key's changes.
        """
        return await self._contexts.get(thumbprint, *self._usable(thumbprint, await self._entries()), policy)

    async def direct_trust_context(self, thumbprint: str, policy: TlsPolicy) -> SSL.Context:
        """Return the context that presents this certificate and asks for the client's; kept, and StoreError, as above."""
        usable = self._usable(thumbprint, await self._entries())
        return await self._direct_trust_contexts.get(thumbprint, *usable, policy)

    def _usable(self, thumbprint: str, entries: Mapping[str, Entry]) -> tuple[Entry, HeldKey]:
        entry = self._found(entries, thumbprint.upper())
        if entry is None:
            raise StoreError(f"the local computer store holds no certificate with thumbprint {thumbprint}")
        if entry.key is None:
            kind = KeyElsewhereError if entry.shown.key is KeyState.ELSEWHERE else StoreError
            raise kind(f"{entry.shown.file} holds {thumbprint}, but it {entry.shown.key.value}")
        return entry, entry.key

    def _found(self, entries: Mapping[str, Entry], thumbprint: str) -> Entry | None:
        found = entries.get(thumbprint) or self._ephemeral.find(thumbprint)
        if found is None and self._stand_ins is not None:
            found = self._stand_ins.find(thumbprint)
        return found

    async def _entries(self) -> Mapping[str, Entry]:
        """Return what the folder holds now; callers that find it changed share one reading."""
        if is_current(self._folder, self._state.folder):
            return self._state.entries
        begun_before = self._begun
        async with self._reading:
            # A reading that began after the question was asked answers it; one that was under way
            # then may have passed the change already.
            if self._taken <= begun_before and not is_current(self._folder, self._state.folder):
                self._begun += 1
                number = self._begun
                self._take(await asyncio.to_thread(self._read, self._state))
                self._taken = number
        return self._state.entries

    def _read(self, known: _State) -> _State:
        """Read what is not as *known* has it; touches nothing of the store, so that a thread may do it."""
        folder = read(self._folder, known.folder, self._passwords)
        return _State(folder, index({name: file.contents for name, file in folder.files.items()}))

    def _take(self, state: _State) -> None:
        """Let *state* be the store's, drop contexts of what is gone, and say what is newly wrong."""
        before, self._state = self._state, state
        find = partial(self._found, state.entries)
        self._contexts.drop_what_is_gone(find)
        self._direct_trust_contexts.drop_what_is_gone(find)
        if state.folder.problem is not None and state.folder.problem != before.folder.problem:
            self._warn(f"{state.folder.problem}; until then no certificate can be loaded")
        if state.folder.left_out and not before.folder.left_out:
            self._warn(f"holds more than {MAX_FILES} files; only the first by name are read")
        for name, file in state.folder.files.items():
            old = before.folder.files.get(name)
            if old is None or old.contents is not file.contents:
                for problem in file.contents.problems:
                    self._warn(f"{name}: {problem}")

    def _warn(self, warning: str) -> None:
        self._on_warning(printable(f"{self._folder.name or self._folder}: {warning}"))
