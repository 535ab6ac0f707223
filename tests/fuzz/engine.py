"""One target under atheris, in a process of its own: ``python -m tests.fuzz.engine NAME OPTIONS…``.

The options are libFuzzer's.  It ends with the process.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzz.catalogue import Target

# What is measured for coverage: our own modules, and the codec that reads a peer's NTLM messages.
INSTRUMENTED = ["smtpd_anontls", "spnego._ntlm_raw"]


def main() -> None:
    """Run the target until libFuzzer has enough."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = Target(name).load()
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
