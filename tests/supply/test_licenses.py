"""Every package that the lock files pin is under a license that was agreed to."""

import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from license_expression import ExpressionError, get_spdx_licensing

from tests.supply.locks import DEVELOPMENT, pins

LICENSING = get_spdx_licensing()
PERMISSIVE = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "PostgreSQL",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
    )
)
CLASSIFIED = {
    # What packages say that name no SPDX license.
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
AGREED = {
    # Used as they are, through their interfaces: what we write is not bound.
    "certifi": "MPL-2.0",
    "fqdn": "MPL-2.0",
    "hypothesis": "MPL-2.0",
    "pathspec": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}


@cache
def licenses() -> dict[str, list[str]]:
    """Return what each installed package says about its license, as SPDX expressions if it can be told."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-format", "JSON", sys.executable]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    components = json.loads(result.stdout)["components"]
    return {
        re.sub(r"[-_.]+", "-", each["name"].lower()): list(map(expression, each.get("licenses", ())))
        for each in components
    }


def expression(entry: dict[str, Any]) -> str:
    found = entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
    return CLASSIFIED.get(found, str(found))


def permits(text: str, agreed: frozenset[str]) -> bool:
    """Whether an SPDX expression is fulfilled by licenses that were agreed to."""
    try:
        parsed = LICENSING.parse(text, validate=True)
    except ExpressionError:
        return False
    known = {symbol: LICENSING.TRUE if str(symbol) in agreed else LICENSING.FALSE for symbol in parsed.symbols}
    return bool(parsed.subs(known, simplify=True) == LICENSING.TRUE)


@pytest.mark.parametrize(
    ("text", "permitted"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("(GPL-2.0-only OR BSD-3-Clause) AND Apache-2.0", True),
        ("a license of our own", False),
        ("AGPL-3.0-or-later WITH Classpath-exception-2.0", False),
    ],
)
def test_an_expression_is_fulfilled_by_what_was_agreed_to(text: str, permitted: bool) -> None:
    assert permits(text, PERMISSIVE) is permitted


@pytest.mark.supply
def test_every_package_has_a_license_that_was_agreed_to() -> None:
    found = licenses()
    absent = {name for name in pins(DEVELOPMENT) if name not in found}
    assert absent == set(), "packages that are not installed here have no license to read"
    refused = {
        name: found[name]
        for name in sorted(pins(DEVELOPMENT))
        if not any(permits(text, PERMISSIVE | {AGREED.get(name, "")}) for text in found[name])
    }
    assert refused == {}


def test_no_exception_outlives_its_package() -> None:
    assert AGREED.keys() <= pins(DEVELOPMENT).keys()
