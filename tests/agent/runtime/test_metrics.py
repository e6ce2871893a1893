"""What an agent shows Prometheus of an instance."""

from dataclasses import replace

from leeward.agent.runtime.metrics import exposition
from leeward.core.values import Disk
from tests.agent.machine.test_machine import Driven
from tests.core.views import APP, US, status, topology


def test_what_is_free_of_a_volume_is_shown_once_it_is_measured() -> None:
    driven = Driven(US)
    driven.load(topology())
    app = driven.machine.apps[APP]
    app.instance = status()
    assert "leeward_disk_free_bytes{" not in exposition(driven.machine, driven.now_s, {}).decode()
    app.instance = replace(status(), disk=Disk(4096, 1024))
    shown = exposition(driven.machine, driven.now_s, {}).decode()
    assert f'leeward_disk_free_bytes{{application="{APP}"}} 1024.0' in shown
    assert f'leeward_disk_size_bytes{{application="{APP}"}} 4096.0' in shown
    assert app.report(driven.now_s).disk == Disk(4096, 1024)
