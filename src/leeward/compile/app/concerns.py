"""The concerns of this group: what an application runs in a region."""

from leeward.compile.app.disruption import disruption
from leeward.compile.app.images import by_digest
from leeward.compile.app.overrides import overrides
from leeward.compile.app.quota import quota
from leeward.compile.app.secrets import secrets
from leeward.compile.app.sidecars import sidecars
from leeward.compile.app.storage import storage, storage_class
from leeward.compile.app.vertical import vertical
from leeward.compile.concern import ALL_OTHERS, Concern, FleetConcerns

CONCERNS = (
    Concern("storage", storage),
    Concern("sidecars", sidecars),
    Concern("disruption", disruption),
    Concern("vertical", vertical),
    Concern("secrets", secrets),
    Concern("quota", quota, after=("sidecars", "versions")),
    Concern("overrides", overrides, after=(ALL_OTHERS,)),
    Concern("digests", by_digest, after=(ALL_OTHERS, "overrides")),
)
FLEET_CONCERNS: FleetConcerns = {"storage": storage_class}
