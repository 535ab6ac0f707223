"""The receiver and the domain controller that docker-compose.yml runs in its profile ``ad``, without an engine."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.command import ROOT, call, serving
from tests.samba import READER, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.samba import DomainController

AD = ROOT / "deploy" / "ad"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_profile_is_not_there_unless_asked_for() -> None:
    """The domain and the receiver that reads it run in the profile alone, and the receiver is as hardened as the other."""
    common = ("build", "image", "read_only", "tmpfs", "cap_drop", "security_opt", "healthcheck")
    receiver = SERVICES["receiver-ad"]

    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["ad"]} == {
        "receiver-ad",
        "dc1",
    }
    assert {key: receiver[key] for key in common} == {key: SERVICES["receiver"][key] for key in common}
    assert receiver["ports"] == ["127.0.0.1:2526:2525"]
    assert "ports" not in SERVICES["dc1"]


def test_containers_of_the_profile_find_each_other_and_their_files() -> None:
    """Name, authority, password and configuration are where the receiver's configuration looks for them."""
    settings = yaml.safe_load((AD / "receive.yaml").read_text())["directory"]
    receiver, controller = SERVICES["receiver-ad"], SERVICES["dc1"]
    mounts = dict(each.removesuffix(":ro").split(":") for each in receiver["volumes"])
    served = dict(each.split(":") for each in controller["volumes"])
    (secret,) = receiver["secrets"]

    assert [f"ldaps://{alias}" for alias in controller["networks"]["default"]["aliases"]] == settings["urls"]
    assert settings["ca_file"] == f"{mounts['authority']}/ca.pem"
    assert served["authority"] == f"{served['domain']}/tls"
    assert mounts["./deploy/ad/receive.yaml"] == receiver["environment"]["SMTPD_ANONTLS_CONFIG"]
    assert settings["bind"]["password_file"] == f"/run/secrets/{secret}"
    assert settings["bind"]["user"].partition("@")[0] == secret
    assert (ROOT / COMPOSE["secrets"][secret]["file"]).is_file()
    assert {*mounts, *served} - {"./deploy/ad/receive.yaml"} <= set(COMPOSE["volumes"])


def test_image_of_the_domain_is_made_of_what_is_there() -> None:
    """The image takes the scripts that the tests run, and runs them on its volume."""
    text = (ROOT / SERVICES["dc1"]["build"] / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"(?m)^COPY (.+)$", text) for word in line.split()[:-1]}
    (command,) = re.findall(r"(?m)^CMD (.+)$", text)
    packages = set(re.findall(r"samba[\w-]*|python3-samba", " ".join(re.findall(r"(?m)^ {8}(.+) \\$", text))))

    assert copied == {"provision.sh", "serve.sh", "schema.ldif", "seed.py", "withhold.py", "passwords"}
    assert [name for name in copied if not (AD / name).exists()] == []
    assert json.loads(command)[-1] == "/ad/provision.sh {0}; exec /ad/serve.sh {0}".format("/var/lib/domain")
    assert re.findall(r"(?m)^VOLUME (.+)$", text) == ["/var/lib/domain"]
    assert packages == {"samba-ad-dc", "samba-ad-provision", "python3-samba"}


@pytest.mark.slow
def test_receiver_of_the_profile_reads_and_writes_the_domain(
    domain_controller: DomainController, tmp_path: Path
) -> None:
    """With deploy/ad/receive.yaml a new certificate that is enabled for SMTP is what X-ANONYMOUSTLS presents."""
    text = (AD / "receive.yaml").read_text()
    first, _, served = SERVICES["receiver-ad"]["entrypoint"][-1].partition("; exec ")
    for container, here in (
        ("ldaps://dc1.contoso.test", domain_controller.url),
        ("/var/lib/smtpd-anontls", str(tmp_path / "state")),
        ("/run/domain/ca.pem", str(domain_controller.ca_file)),
        ("/run/secrets/svc-publisher", str(AD / "passwords" / "svc-publisher")),
        ("0.0.0.0:2525", "127.0.0.1:0"),
    ):
        assert container in text
        text, first = text.replace(container, here), first.replace(container, here)
    config = tmp_path / "receive.yaml"
    config.write_text(text)
    subprocess.run(shlex.split(first), check=True)

    with serving(config) as receiver:
        before = call("probe", receiver.target(SERVER), "--json")
        made = call("certificate", "new", "--json", "--config", config)
        thumbprint = made.document["thumbprint"]
        enabled = call(
            "certificate", "enable", thumbprint, "--services", "SMTP", "--force", "--config", config
        )
        after = call("probe", receiver.target(SERVER), "--json")

    assert served == "smtpd-anontls serve"
    assert "X-ANONYMOUSTLS" not in before.document["ehlo"]
    assert (made.code, enabled.code) == (0, 0), enabled.stderr
    assert "X-ANONYMOUSTLS" in after.document["ehlo"]
    assert after.document["certificate"]["thumbprint"] == thumbprint
    assert (domain_controller.published(user=READER) or b"").startswith(b"\x30\x82")
