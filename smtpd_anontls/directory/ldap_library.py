"""ldap3, imported once: it uses names of pyasn1 that pyasn1 0.6 calls deprecated."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "(tagMap|typeMap) is deprecated", DeprecationWarning)
    import ldap3 as ldap3  # noqa: PLC0414 - exported under its own name
    from ldap3.core import exceptions as exceptions  # noqa: PLC0414
    from ldap3.core import results as results  # noqa: PLC0414
    from ldap3.utils.conv import escape_filter_chars as escape_filter_chars  # noqa: PLC0414
