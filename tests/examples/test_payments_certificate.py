"""What the payments service says of its certificate, at every time of its life."""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from tests.kit.certificates import Authority

MODULE = Path(__file__).parents[2] / "examples" / "payments" / "service" / "certificate.py"
BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = BEGINS + timedelta(days=1)


@pytest.fixture(scope="module")
def certificate() -> ModuleType:
    """The service's module: a program of its own, no package of ours."""
    found = importlib.util.spec_from_file_location("payments_certificate", MODULE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate that lives from BEGINS to ENDS."""
    directory = tmp_path_factory.mktemp("identity") / "payments"
    return Authority().issue("payments", directory, not_before=BEGINS, not_after=ENDS)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param(BEGINS - timedelta(hours=1), "is not valid for another 3600 s", id="not yet"),
        pytest.param(BEGINS + timedelta(hours=12), None, id="in its prime"),
        pytest.param(ENDS - timedelta(hours=7), None, id="more than a quarter left"),
        pytest.param(ENDS - timedelta(hours=6), "expires in 6.0 h: renew it", id="about to expire"),
        pytest.param(ENDS + timedelta(minutes=1), "expired 60 s ago", id="expired"),
    ],
)
def test_a_certificate_is_judged_by_the_time(
    certificate: ModuleType, identity: Path, now: datetime, said: str | None
) -> None:
    reasons = certificate.inspect(identity, now.timestamp()).reasons
    assert len(reasons) == (said is not None)
    assert said is None or said in reasons[0]


def test_no_certificate_is_a_reason(certificate: ModuleType, tmp_path: Path) -> None:
    found = certificate.inspect(tmp_path, BEGINS.timestamp())
    assert found.expires_in_s is None
    assert "tls.crt" in found.reasons[0]
