"""The picture of the deployment."""

from pathlib import Path

from hypothesis import given, settings

from leeward.compile.tree.diagram import diagram
from leeward.spec import Spec, load
from tests.compile.varieties import specs
from tests.conftest import Golden
from tests.kubernetes.everything import everything

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"


def test_payments(golden: Golden) -> None:
    golden(Path(__file__).parent / "payments" / "diagram.mmd", diagram(load(EXAMPLE)))


def test_it_shows_what_the_environment_runs() -> None:
    text = diagram(load(EXAMPLE.parent / "fnp"))
    assert text.count('["fnp x 5"]') == 3


def test_a_consensus_database_has_no_primary() -> None:
    text = diagram(everything("plain, cockroachdb, azure dns"))
    assert text.count('== "Raft" ===') == 3
    assert "postgres" not in text


@settings(max_examples=25)
@given(specs())
def test_every_node_of_an_arrow_is_drawn(spec: Spec) -> None:
    lines = [line.strip() for line in diagram(spec).splitlines()]
    drawn = {line.split("[")[0].split("(")[0] for line in lines if "[" in line and "--" not in line}
    for line in lines:
        for arrow in ("==>", ".-", "-->"):
            if arrow in line and '"' in line:
                ends = line.split()[0], line.split()[-1]
                assert set(ends) <= drawn, line
    assert sum(line == "end" for line in lines) == len(spec.regions)
