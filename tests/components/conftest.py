"""Fixtures of the component tests.

``tests.lab`` says how to run a receiver, ``tests.samba`` a domain controller, ``tests.mit_kdc`` a KDC, ``asking``
OpenLDAP servers, ``tests.postgres`` PostgreSQL.
"""

from tests.components.asking import directory_of, other_slapd, slapd, steady_slapd
from tests.components.journal_making import url
from tests.lab import lab, pki
from tests.mit_kdc import kdc, realm
from tests.postgres import own_postgres, postgres
from tests.samba import domain_controller, kerberos, running_domain_controller

__all__ = [
    "directory_of",
    "domain_controller",
    "kdc",
    "kerberos",
    "lab",
    "other_slapd",
    "own_postgres",
    "pki",
    "postgres",
    "realm",
    "running_domain_controller",
    "slapd",
    "steady_slapd",
    "url",
]
