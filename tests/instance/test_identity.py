"""Whom an instance manager obeys, by the names in a certificate that TLS has verified."""

from typing import Any

import pytest

from leeward.instance.identity import may_order


def certificate(*names: tuple[str, str], common: str = "us") -> dict[str, Any]:
    return {"subject": ((("commonName", common),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("shown", "obeyed"),
    [
        pytest.param(certificate(("DNS", "us"), ("URI", "spiffe://shop/region/us")), True, id="its region's agent"),
        pytest.param(certificate(("URI", "spiffe://shop/operator"), common="operator"), True, id="an operator"),
        pytest.param(certificate(("URI", "spiffe://shop/region/eu")), False, id="another region's agent"),
        pytest.param(certificate(("URI", "spiffe://shop/region/operator")), False, id="a region called operator"),
        pytest.param(certificate(("URI", "spiffe://shop/metrics/us")), False, id="what reads metrics"),
        pytest.param(certificate(("URI", "spiffe://shop/region/us/more")), False, id="more than the region"),
        pytest.param(certificate(("URI", "https://shop/region/us")), False, id="another scheme"),
        pytest.param(certificate(("DNS", "spiffe://shop/region/us")), False, id="a host of that name"),
        pytest.param(certificate(("URI", "spiffe://")), False, id="an empty name"),
        pytest.param(certificate(common="us"), False, id="a common name alone"),
        pytest.param({}, False, id="no names"),
        pytest.param(None, False, id="no certificate"),
    ],
)
def test_an_instance_manager_obeys_its_regions_agent_and_operators(shown: dict[str, Any] | None, obeyed: bool) -> None:
    assert may_order(shown, "us") is obeyed
