"""Deny an account to read msExchServerInternalTLSCert of a server, or take the denial back; both hold at once.

    /usr/bin/python3 withhold.py SMB_CONF SAM_LDB ACCOUNT SERVER [--undo]

What is withheld looks to the account exactly like what is not set: the search succeeds without it.
"""

from __future__ import annotations

import sys

from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

ATTRIBUTE_GUID = "d0ad315b-0a1d-42e3-b93c-47b119c2d59a"


def main() -> None:
    """Change the access list of one server object."""
    smb_conf, sam_ldb, name, server, *undo = sys.argv[1:]
    settings = LoadParm()
    settings.load(smb_conf)
    database = SamDB(url=sam_ldb, session_info=system_session(), lp=settings)
    (account,) = database.search(expression=f"(sAMAccountName={name})", attrs=["objectSid"])
    sid = ndr_unpack(security.dom_sid, account["objectSid"][0])
    (found,) = database.search(
        database.get_config_basedn(),
        expression=f"(&(objectClass=msExchExchangeServer)(cn={server}))",
        attrs=["cn"],
    )
    # On the object itself: a denial that is inherited comes behind what the object's own list allows.
    denial = f"(OD;;RP;{ATTRIBUTE_GUID};;{sid})"
    utils = SDUtils(database)
    if undo:
        sddl = utils.get_sd_as_sddl(found.dn).replace(denial, "")
        domain = security.dom_sid(database.get_domain_sid())
        utils.modify_sd_on_dn(found.dn, security.descriptor.from_sddl(sddl, domain))
    else:
        utils.dacl_add_ace(found.dn, denial)


main()
