"""What is a DNS name: labels, lengths, punycode. Pure.

Names of hosts only (RFC 952, RFC 1123): what gateways, certificates and every resolver take. No wildcards: Envoy would
read one as a rule for other hosts.
"""

import re

from leeward.core.dns.zone import within

LENGTH_MAX = 253
LABEL_LENGTH_MAX = 63
OWN_DOMAIN = "leeward"
"""Names below it are Leeward's own, such as the one that gateways ask one another for."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
PUNYCODE = "xn--"
"""How a label begins that is written in ASCII and means letters beyond it."""


def compared(name: str) -> str:
    """Return a name as names are compared: in lower case, without the final dot."""
    return name.removesuffix(".").lower()


def wrong(name: str) -> str | None:
    """Return why a text is not the name of a host; None if it is one."""
    plain = compared(name)
    if not plain:
        return "it is empty"
    if len(plain) > LENGTH_MAX:
        return f"it has {len(plain)} characters, and a name has at most {LENGTH_MAX}"
    labels = plain.split(".")
    for label in labels:
        because = _wrong_label(label)
        if because is not None:
            return because
    if labels[-1].isdecimal():
        return "its last label is a number, so clients would read it as an address"
    if within(plain, OWN_DOMAIN):
        return f"names below {OWN_DOMAIN} are Leeward's own"
    return None


def _wrong_label(label: str) -> str | None:
    if not label:
        return "it has an empty label: a dot too many"
    if "*" in label:
        return "it has a wildcard, and one name is one application's"
    if len(label) > LABEL_LENGTH_MAX:
        return f"its label {label} has {len(label)} characters, and a label has at most {LABEL_LENGTH_MAX}"
    if not label.isascii():
        return f"its label {label!r} is not ASCII; write it in punycode, beginning with {PUNYCODE}"
    if not _LABEL.fullmatch(label):
        return f"its label {label!r} is not letters, digits and inner hyphens"
    if label[2:4] == "--" and not _is_punycode(label):
        return f"its label {label} has hyphens as its third and fourth characters, and is not valid punycode"
    return None


def _is_punycode(label: str) -> bool:
    """Return whether a label is the one spelling of what IDNA 2008 (RFC 5891) allows beyond ASCII."""
    import idna

    try:
        return idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except UnicodeError:
        return False
