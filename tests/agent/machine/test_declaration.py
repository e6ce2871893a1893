"""What files name: written once, written again when it is lost, and in force when a majority of regions says so."""

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.outbox import RETRY_S
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import Declared
from leeward.ports.quorum import Put
from tests.agent.machine.test_machine import FLEET, Driven, of
from tests.core.views import AP, APP, EU, REGIONS, US, topology

KEY = keys.declared(FLEET, EU)
OURS = Put(KEY, encode(Declared({APP: REGIONS})))


def declarations(actions: list[do.Action]) -> list[do.Transact]:
    return [asked for asked in of(do.Transact, actions) if OURS in asked.changes]


def test_an_agent_declares_what_it_read_until_the_store_has_it() -> None:
    driven = Driven(EU)
    assert declarations(driven.load(topology())) == [], "it is there"
    (asked,) = declarations(driven.store(KEY, Declared({APP: (US, EU)})))
    assert asked.compares == ()
    driven.now_s += 1.0
    assert declarations(driven.post(on.Woke())) == [], "one at a time"
    driven.post(on.TransactionEnded(asked.transaction, None))
    driven.now_s += RETRY_S
    (again,) = declarations(driven.post(on.Woke()))
    driven.commit(again)
    driven.store(KEY, Declared({APP: REGIONS}))
    driven.now_s += 1.0
    assert declarations(driven.post(on.Woke())) == []


def test_what_a_majority_of_the_regions_names_is_what_decisions_go_by() -> None:
    driven = Driven(EU)
    driven.load(topology())
    application = driven.machine.apps[APP]
    assert driven.machine.view(application, driven.now_s).declared is None, "one of three"
    driven.store(keys.declared(FLEET, US), Declared({APP: (US, EU)}))
    assert driven.machine.view(application, driven.now_s).declared is None
    driven.store(keys.declared(FLEET, AP), Declared({APP: (US, EU)}))
    assert driven.machine.view(application, driven.now_s).declared == (US, EU)
