"""Extend the schema of a Samba domain, and add what Exchange's set-up would: server objects and who may read them.

    /usr/bin/python3 seed.py SMB_CONF SAM_LDB KEYTABS

Run it once on a domain that is not served yet, with the Python that Debian's python3-samba belongs to.
Passwords stand in the folder passwords.  KEYTABS is a folder, for a keytab of each account and each computer.

Who may what: svc-reader is a plain user and can read the server objects as every user can, svc-publisher may
write msExchServerInternalTLSCert of each beside that, and nothing else.  MBX1$ and MBX2$ are the computer
accounts of the servers, whose keys tickets for SMTPSVC are made with; nobody knows their passwords.  Both are
Exchange servers by their groups: MBX1$ as a member of Exchange Servers, MBX2$ of a group that is one.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from string import Template

import ldb
import samba.dckeytab  # noqa: F401 - gives Net its export_keytab
from samba import dsdb
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.net import Net
from samba.param import LoadParm
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

ORGANIZATION = "Contoso"
# As every Exchange organization calls it.
ADMINISTRATIVE_GROUP = "Exchange Administrative Group (FYDIBOHF23SPDLT)"
SERVERS = ("MBX1", "MBX2", "EDGE1")
ACCOUNTS = ("svc-reader", "svc-publisher")
COMPUTERS = ("MBX1", "MBX2")
ENCRYPTION_TYPES = (
    "28"  # RC4 and both of AES, as a computer that joins writes it; without it RC4 alone is used.
)
EXCHANGE_GROUPS = "Microsoft Exchange Security Groups"
PASSWORDS = Path(__file__).with_name("passwords")
ATTRIBUTE_GUID = "d0ad315b-0a1d-42e3-b93c-47b119c2d59a"
# Administrators and the system do everything, every user reads and lists.
READABLE = "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)"


def extend_schema(database: SamDB) -> None:
    """Add the classes and attributes of schema.ldif."""
    text = Template(Path(__file__).with_name("schema.ldif").read_text(encoding="utf-8"))
    ldif = text.substitute(SCHEMADN=database.get_schema_basedn(), READABLE=READABLE)
    for change, message in database.parse_ldif(ldif):
        if change == ldb.CHANGETYPE_MODIFY:
            database.set_schema_update_now()
        else:
            database.add(message)


def add_servers(database: SamDB) -> list[str]:
    """Add the server objects, in the containers that lead to them, and return their names."""
    name = f"CN=Services,{database.get_config_basedn()}"
    for common_name, object_class in (
        ("Microsoft Exchange", "msExchConfigurationContainer"),
        (ORGANIZATION, "msExchOrganizationContainer"),
        ("Administrative Groups", "msExchAdminGroupContainer"),
        (ADMINISTRATIVE_GROUP, "msExchAdminGroup"),
        ("Servers", "msExchServersContainer"),
    ):
        name = f"CN={common_name},{name}"
        database.add({"dn": name, "objectClass": object_class})
    servers = [f"CN={server},{name}" for server in SERVERS]
    for server in servers:
        database.add({"dn": server, "objectClass": "msExchExchangeServer"})
    return servers


def add_accounts(database: SamDB, servers: list[str]) -> None:
    """Add the accounts, whose passwords do not expire, and let svc-publisher write the attribute of each server."""
    for account in ACCOUNTS:
        database.newuser(account, (PASSWORDS / account).read_text(encoding="utf-8").strip())
    for account in ("Administrator", *ACCOUNTS):
        database.setexpiry(f"(sAMAccountName={account})", 0, no_expiry_req=True)
    found = database.search(expression="(sAMAccountName=svc-publisher)", attrs=["objectSid"])
    publisher = ndr_unpack(security.dom_sid, found[0]["objectSid"][0])
    for server in servers:
        SDUtils(database).dacl_add_ace(server, f"(OA;;RPWP;{ATTRIBUTE_GUID};;{publisher})")


def add_computers(database: SamDB) -> None:
    """Add the accounts of the servers in the domain, with the names that Exchange's SMTP service is asked for by."""
    for name in COMPUTERS:
        hosts = (f"{name.lower()}.{database.domain_dns_name()}", name)
        services = [f"{service}/{host}" for service in ("SMTPSVC", "HOST") for host in hosts]
        # prepare_oldjoin alone lets the account be used; the password that it sets is no secret.
        database.newcomputer(name, prepare_oldjoin=True, service_principal_name_list=services)
        database.setpassword(f"(sAMAccountName={name}$)", secrets.token_urlsafe(48))
        found = database.search(expression=f"(sAMAccountName={name}$)", attrs=[])
        change = ldb.Message(found[0].dn)
        change["types"] = ldb.MessageElement(
            ENCRYPTION_TYPES, ldb.FLAG_MOD_REPLACE, "msDS-SupportedEncryptionTypes"
        )
        database.modify(change)


def add_groups(database: SamDB) -> None:
    """Add the groups that make an account an Exchange server, and the servers to them, one directly, one nested."""
    organizational_unit = f"OU={EXCHANGE_GROUPS}"
    database.create_ou(f"{organizational_unit},{database.get_default_basedn()}")
    for name, kind, members in (
        # Set-up keeps it elsewhere, with the servers that were installed last.
        ("Exchange Install Domain Servers", dsdb.GTYPE_SECURITY_GLOBAL_GROUP, ["MBX2$"]),
        (
            "Exchange Servers",
            dsdb.GTYPE_SECURITY_UNIVERSAL_GROUP,
            ["MBX1$", "Exchange Install Domain Servers"],
        ),
        ("ExchangeLegacyInterop", dsdb.GTYPE_SECURITY_UNIVERSAL_GROUP, []),
    ):
        database.newgroup(name, groupou=organizational_unit, grouptype=kind)
        database.add_remove_group_members(name, members, add_members_operation=True)


def name_service(database: SamDB, settings: LoadParm) -> None:
    """Give the domain controller the names that Kerberos clients of LDAP ask for.

    Samba does so itself only where it serves DNS.
    """
    host, realm = settings.get("netbios name"), settings.get("realm").lower()
    found = database.search(
        database.get_default_basedn(), expression=f"(sAMAccountName={host}$)", attrs=["servicePrincipalName"]
    )[0]
    known = {str(each).lower() for each in found.get("servicePrincipalName", [])}
    wanted = [f"ldap/{host.lower()}.{realm}", f"ldap/{host}"]
    missing = [each.encode() for each in wanted if each.lower() not in known]
    if missing:
        change = ldb.Message(found.dn)
        change["names"] = ldb.MessageElement(missing, ldb.FLAG_MOD_ADD, "servicePrincipalName")
        database.modify(change)


def export_keytabs(settings: LoadParm, folder: Path) -> None:
    """Write a keytab for each account, and for each computer one with its service beside."""
    credentials = Credentials()
    credentials.guess(settings)
    realm = settings.get("realm").lower()
    principals = {account: [account] for account in ACCOUNTS}
    principals |= {name: [f"{name}$", f"SMTPSVC/{name.lower()}.{realm}"] for name in COMPUTERS}
    for name, keys in principals.items():
        for principal in keys:
            keytab = str(folder / f"{name}.keytab")
            Net(credentials, settings).export_keytab(keytab=keytab, principal=principal)


def main() -> None:
    """Do it all, in the order that Active Directory asks for."""
    smb_conf, sam_ldb, keytabs = sys.argv[1:]
    settings = LoadParm()
    settings.load(smb_conf)
    settings.set("dsdb:schema update allowed", "yes")
    database = SamDB(url=sam_ldb, session_info=system_session(), lp=settings)
    extend_schema(database)
    add_accounts(database, add_servers(database))
    add_computers(database)
    add_groups(database)
    name_service(database, settings)
    export_keytabs(settings, Path(keytabs))


main()
