"""The concerns of this group: how an application is watched."""

from leeward.compile.concern import Concern, FleetConcerns
from leeward.compile.observe.telemetry import collector, monitoring, node_logs, tracing

CONCERNS = (Concern("tracing", tracing), Concern("monitoring", monitoring))
FLEET_CONCERNS: FleetConcerns = {"tracing": collector, "logging": node_logs}
