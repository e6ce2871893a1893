"""The scalars of the two files: durations, quantities, names, ranges of addresses.

Each is checked while it is read, and its error says why it is refused and how to write it. After that
the rest of the program never sees text such as ``500ms``.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from leeward.base import units
from leeward.base.units import DURATION_PATTERN, duration_text
from leeward.spec import dns_names

DURATION_MAX_S = 8760 * 3600.0
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

# Room for what is appended to a name (-postgres-0, hashes of pods) within Kubernetes' 63 characters.
NAME_LENGTH_MAX = 40
NAME_PATTERN = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
PATH_PATTERN = r"^/[^\s?#\x00-\x1f\x7f]*$"
DNS_NAME_FIX = "use labels of letters, digits and inner hyphens, joined by dots: shop.example.com; others as punycode"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
# A registry's host, a path, a tag, a digest; all but the path may be left out.
IMAGE_PATTERN = (
    r"^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
IMAGE_LENGTH_MAX = 512


class Model(BaseModel):
    """What all parts of a file share: nothing unknown, nothing converted silently, nothing changed later."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
    )


def invalid(code: str, what: str, *, why: str, fix: str) -> PydanticCustomError:
    """Return the error a validator raises; the loader turns it into a Problem with a position."""
    # Braces would be read as placeholders of pydantic's message template.
    return PydanticCustomError("leeward", "{what}", {"code": code, "what": what, "why": why, "fix": fix})


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount as Kubernetes writes it: ``500m`` of a CPU, ``512Mi`` of memory."""

    text: str
    amount: Decimal
    """In CPUs or bytes."""

    def __str__(self) -> str:
        return self.text


def parse_duration_s(raw: object) -> float:
    """Return seconds. A unit is required: a bare 5 could be anything."""
    try:
        seconds = units.parse_duration_s(raw if isinstance(raw, str) else "")
    except ValueError:
        raise invalid(
            "bad-duration",
            f"{shown(raw)} is not a duration",
            why="a duration is a number and a unit, so that the unit is explicit",
            fix="write it as 500ms, 5s, 2m or 1h",
        ) from None
    if seconds > DURATION_MAX_S:
        raise invalid(
            "bad-duration",
            f"{shown(raw)} is longer than a year",
            why="no duration in Leeward is that long",
            fix="write a duration of at most 8760h",
        )
    return seconds


def parse_quantity(raw: object) -> Quantity:
    """Return the typed amount of ``250m``, ``1.5``, ``512Mi``, or of a plain whole number."""
    if isinstance(raw, Quantity):
        return raw
    text = str(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw
    match = re.fullmatch(QUANTITY_PATTERN, text) if isinstance(text, str) else None
    if match is None or not isinstance(text, str):
        raise invalid(
            "bad-quantity",
            f"{shown(raw)} is not a quantity",
            why="amounts are written as Kubernetes writes them: a number, and a suffix for its scale",
            fix="write CPUs as 500m or 2, memory and storage as 512Mi or 10Gi",
        )
    return Quantity(text, units.parse_quantity(text))


def parse_name(raw: object) -> str:
    """Return a name that Kubernetes, DNS and PostgreSQL all accept."""
    if not isinstance(raw, str) or len(raw) > NAME_LENGTH_MAX or not re.fullmatch(NAME_PATTERN, raw):
        raise invalid(
            "bad-name",
            f"{shown(raw)} is not a name",
            why="it becomes part of the names of Kubernetes objects and of DNS names",
            fix=f"use lower-case letters, digits and hyphens, a letter first, at most {NAME_LENGTH_MAX} long",
        )
    return raw


def parse_dns_name(raw: object) -> str:
    """Return a DNS name as names are compared: in lower case, without the final dot."""
    because = dns_names.wrong(raw) if isinstance(raw, str) else "it is not text"
    if not isinstance(raw, str) or because is not None:
        raise invalid("bad-dns-name", f"{shown(raw)} is not a DNS name", why=str(because), fix=DNS_NAME_FIX)
    return dns_names.compared(raw)


def parse_host(raw: object) -> str:
    """Return an application's public name: a DNS name of two labels or more."""
    name = parse_dns_name(raw)
    if "." not in name:
        raise invalid(
            "bad-dns-name",
            f"{shown(raw)} is not a public name",
            why="it has one label; names of an application's regions are beside it, below the same parent",
            fix="write it with its domain, such as shop.example.com",
        )
    return name


def parse_cidr(raw: object) -> str:
    """Return an address range such as ``10.1.0.0/16``."""
    try:
        if not isinstance(raw, str) or "/" not in raw:
            raise ValueError("no prefix length")
        return str(ipaddress.ip_network(raw))
    except ValueError as error:
        raise invalid(
            "bad-cidr",
            f"{shown(raw)} is not a range of addresses",
            why=str(error),
            fix="write the first address and the prefix length: 10.1.0.0/16",
        ) from error


def parse_image(raw: str) -> str:
    """Return the reference of a container image: a digest, where it has one, is whole."""
    if len(raw) > IMAGE_LENGTH_MAX or not re.fullmatch(IMAGE_PATTERN, raw):
        raise invalid(
            "bad-image",
            f"{shown(raw)} is not the reference of a container image",
            why="a node could not pull it",
            fix="write it as registry.example.com/shop:1.4@sha256:..., the digest with 64 hexadecimal digits",
        )
    return raw


def parse_digest(raw: str) -> str:
    """Return the digest of a container image."""
    if not re.fullmatch(DIGEST_PATTERN, raw):
        raise invalid(
            "bad-digest",
            f"{shown(raw)} is not the digest of a container image",
            why="a digest is sha256: and 64 hexadecimal digits in lower case",
            fix="copy it from the registry: crane digest IMAGE",
        )
    return raw


def has_tag(image: str) -> bool:
    """Whether the reference of an image has a tag or a digest: a colon before the last slash is a registry's port."""
    return has_digest(image) or ":" in image.rpartition("/")[2]


def has_digest(image: str) -> bool:
    """Whether the reference of an image says by itself what it stands for."""
    return "@" in image


def _matching(pattern: str, what: str, fix: str) -> Callable[[object], str]:
    def parse(raw: object) -> str:
        if not isinstance(raw, str) or not re.fullmatch(pattern, raw):
            raise invalid("bad-value", f"{shown(raw)} is not {what}", why=f"it must match {pattern}", fix=fix)
        return raw

    return parse


def shown(raw: object) -> str:
    """Return a value as an error message quotes it."""
    if isinstance(raw, bool) or raw is None:
        return {True: "true", False: "false", None: "null"}[raw]
    return f'"{raw}"' if isinstance(raw, str) else str(raw)


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": pattern}
    return WithJsonSchema({**schema, "examples": list(examples)} if examples else schema)


Seconds = Annotated[
    float,
    BeforeValidator(parse_duration_s),
    PlainSerializer(duration_text, return_type=str),
    _schema(DURATION_PATTERN, "500ms", "5s", "2m"),
]
Amount = Annotated[
    Quantity,
    BeforeValidator(parse_quantity),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": QUANTITY_PATTERN}, {"type": "number", "minimum": 0}],
            "examples": ["500m", "512Mi", "10Gi"],
        }
    ),
]
Name = Annotated[
    str,
    BeforeValidator(parse_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": NAME_LENGTH_MAX}),
]
DnsName = Annotated[
    str,
    BeforeValidator(parse_dns_name),
    WithJsonSchema({"type": "string", "maxLength": dns_names.LENGTH_MAX + 1, "examples": ["example.com"]}),
]
HostName = Annotated[
    str,
    BeforeValidator(parse_host),
    WithJsonSchema({"type": "string", "maxLength": dns_names.LENGTH_MAX + 1, "examples": ["shop.example.com"]}),
]
Cidr = Annotated[str, BeforeValidator(parse_cidr), WithJsonSchema({"type": "string", "examples": ["10.1.0.0/16"]})]
Image = Annotated[
    str,
    AfterValidator(parse_image),
    WithJsonSchema({"type": "string", "pattern": IMAGE_PATTERN, "maxLength": IMAGE_LENGTH_MAX}),
]
Digest = Annotated[str, AfterValidator(parse_digest), _schema(DIGEST_PATTERN)]
HttpPath = Annotated[
    str,
    BeforeValidator(_matching(PATH_PATTERN, "a path", "write it from the root: /healthz")),
    _schema(PATH_PATTERN, "/healthz"),
]
EnvName = Annotated[
    str,
    BeforeValidator(
        _matching(ENV_NAME_PATTERN, "the name of an environment variable", "use letters, digits and underscores")
    ),
]
