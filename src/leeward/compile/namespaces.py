"""The namespaces of a region: Leeward's own, and one per application that runs there."""

from leeward.compile.objects import KubeObject, labels_of, namespace
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.spec.spec import Spec


def namespaces(spec: Spec, region: str) -> list[KubeObject]:
    """Return them, Leeward's first."""
    apps = [app for app in spec.applications if region in spec.placement(app)]
    return [
        namespace(SYSTEM_NAMESPACE, labels_of("leeward", "namespace", region, "leeward")),
        *(
            namespace(app.namespace, labels_of(app.metadata.name, "namespace", region, app.metadata.name))
            for app in apps
        ),
    ]
