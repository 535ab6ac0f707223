"""The contexts that ask for a client certificate: what they speak and present, and how the store keeps them."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
)
from OpenSSL import SSL

from smtpd_anontls.certificates.contexts import ContextError, direct_trust_context
from smtpd_anontls.certificates.issue import Issued
from smtpd_anontls.certificates.store import StoreError
from smtpd_anontls.domain.certificate import Certificate
from smtpd_anontls.domain.tls_policy import TlsPolicy, TlsVersion
from tests.components.handshake import exchange_ec, exchange_rsa, fresh, weak_rsa
from tests.components.tls_service import (
    THUMBPRINT,
    UP_TO_13,
    V10,
    V12,
    V13,
    client,
    context_of,
    ready,
    serving,
)
from tests.components.watched import Watched, pem_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("policy", "versions", "spoken"),
    [
        pytest.param(TlsPolicy(), (V10, V13), V12, id="Exchange's"),
        pytest.param(TlsPolicy(V10, V10), (V10, V13), V10, id="TLS 1.0"),
        pytest.param(TlsPolicy(V10, V12), (V10, V10), V10, id="down to TLS 1.0"),
        pytest.param(UP_TO_13, (V10, V13), V13, id="TLS 1.3"),
        pytest.param(TlsPolicy(V13, V13), (V10, V13), V13, id="TLS 1.3 alone"),
    ],
)
async def test_speaks_the_versions_of_its_range(
    tmp_path: Path, policy: TlsPolicy, versions: tuple[TlsVersion, TlsVersion], spoken: TlsVersion
) -> None:
    """The policy's range decides, as it does for the fast handshake; an old sender shows its certificate too."""
    async with (
        serving(policy, issued=exchange_rsa()) as service,
        await ready(service, client(tmp_path, exchange_rsa(), *versions)),
    ):
        pass

    assert service.session.facts is not None
    assert service.session.facts.version == spoken.value
    assert service.session.client_certificate == exchange_rsa().certificate.der


async def test_server_prefers_its_own_order_of_suites(tmp_path: Path) -> None:
    """The first suite of the policy that both have is spoken, whatever the client likes best."""
    context = client(tmp_path, None)
    context.set_ciphers(
        "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    )
    async with serving() as service, await ready(service, context):
        pass

    assert service.session.facts is not None
    assert service.session.facts.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"


async def test_presents_the_chain() -> None:
    """A peer that knows the root alone can verify a certificate of an intermediate authority."""
    root = trustme.CA()
    leaf = root.create_child_ca().issue_cert("mx1.lab.test")
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    issued = Issued(Certificate.from_der(der), chain, leaf.private_key_pem.bytes())
    strict = ssl.create_default_context(cadata=root.cert_pem.bytes().decode())
    async with serving(issued=issued) as service, await ready(service, strict) as peer:
        assert peer.presented() == der


def test_asks_for_no_more_than_it_needs() -> None:
    """It asks for a certificate and names no authority; compression, renegotiation and tickets are off."""
    context = context_of(exchange_ec())
    wanted = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET

    assert context.set_options(0) & wanted == wanted
    assert context.get_verify_mode() == SSL.VERIFY_PEER
    assert context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
    assert SSL.Connection(context).get_client_ca_list() == []


@pytest.mark.parametrize(
    ("certificate", "key", "ciphers", "reason"),
    [
        pytest.param(exchange_ec, exchange_rsa, None, "does not take it", id="another kind of key"),
        pytest.param(exchange_ec, lambda: fresh("MBX2"), None, "does not take it", id="another key"),
        pytest.param(
            weak_rsa, weak_rsa, "HIGH:@SECLEVEL=2", "key too small.*@SECLEVEL=0' at the end", id="weak key"
        ),
        pytest.param(exchange_ec, exchange_ec, "FOO", "'FOO' is no OpenSSL cipher string", id="ciphers"),
    ],
)
def test_what_openssl_does_not_take(
    certificate: Callable[[], Issued], key: Callable[[], Issued], ciphers: str | None, reason: str
) -> None:
    """The reasons are those of the fast context."""
    chain = x509.load_pem_x509_certificates(certificate().certificate_pem)
    with pytest.raises(ContextError, match=reason):
        direct_trust_context(chain, load_pem_private_key(key().key_pem, None), TlsPolicy(ciphers=ciphers))


def test_a_key_that_signs_nothing() -> None:
    """A key for agreement alone is refused before OpenSSL sees it."""
    chain = x509.load_pem_x509_certificates(exchange_ec().certificate_pem)
    with pytest.raises(ContextError, match="signs no handshake"):
        direct_trust_context(chain, X448PrivateKey.generate(), TlsPolicy())


# -- the store


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Return a store with one certificate, its key in a file beside."""
    folder = tmp_path / "certs"
    folder.mkdir()
    watched = Watched(folder)
    watched.put({"a.crt": exchange_ec().certificate_pem, "a.key": exchange_ec().key_pem})
    return watched


async def test_context_is_kept_until_its_files_change(watched: Watched) -> None:
    """Sessions share a context, one beside the fast one; a new key file makes a new one."""
    policy = TlsPolicy()
    first, *others = await asyncio.gather(
        *(watched.store.direct_trust_context(THUMBPRINT.lower(), policy) for _ in range(20))
    )
    fast = await watched.store.context(THUMBPRINT, policy)

    assert all(other is first for other in others)
    assert isinstance(fast, ssl.SSLContext)
    assert await watched.store.direct_trust_context(THUMBPRINT, UP_TO_13) is not first

    watched.put({"b.pem": fresh("MBX2").certificate_pem})

    assert await watched.store.direct_trust_context(THUMBPRINT, policy) is first
    assert await watched.store.context(THUMBPRINT, policy) is fast

    watched.put({"a.key": pem_key(exchange_ec()) + b"\n"})

    assert await watched.store.direct_trust_context(THUMBPRINT, policy) is not first


async def test_context_does_not_outlive_its_certificate(watched: Watched) -> None:
    """A certificate that was removed is no longer presented, and its context not kept."""
    await watched.store.direct_trust_context(THUMBPRINT, TlsPolicy())
    (watched.folder / "a.crt").unlink()

    with pytest.raises(StoreError, match="holds no certificate with thumbprint"):
        await watched.store.direct_trust_context(THUMBPRINT, TlsPolicy())
    assert not watched.store._direct_trust_contexts._kept


async def test_context_that_cannot_be_made_says_why(watched: Watched) -> None:
    """The file is named."""
    with pytest.raises(StoreError, match=r"^a\.crt: 'FOO' is no OpenSSL cipher string"):
        await watched.store.direct_trust_context(THUMBPRINT, TlsPolicy(ciphers="FOO"))
