"""How kinds of Kubernetes objects are named."""

import pytest

from leeward.operate.objects import resource
from leeward.operate.outcome import OperationError
from leeward.ports.cluster import CONFIG_MAPS, PODS, STATEFUL_SETS


@pytest.mark.parametrize("word", ["pods", "pod", "Pod", "po"])
def test_a_kind_has_many_names(word: str) -> None:
    assert resource(word) is PODS


def test_more_names() -> None:
    assert resource("sts") is STATEFUL_SETS
    assert resource("configmap") is CONFIG_MAPS
    with pytest.raises(OperationError, match="unknown kind 'pots'"):
        resource("pots")
