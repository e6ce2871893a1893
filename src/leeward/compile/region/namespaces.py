"""The namespaces of a region: Leeward's own, and one per application that runs there."""

from leeward.compile.kube.objects import KubeObject, labels_of, namespace
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.spec.application import Application
from leeward.spec.spec import Spec


def namespaces(spec: Spec, region: str) -> list[KubeObject]:
    """Return them, Leeward's first."""
    here = [application for application in spec.applications if region in spec.placement(application)]
    return [system_namespace(region), *(application_namespace(application, region) for application in here)]


def system_namespace(region: str) -> KubeObject:
    """Return Leeward's own."""
    return namespace(SYSTEM_NAMESPACE, labels_of("leeward", "namespace", region, "leeward"))


def application_namespace(application: Application, region: str) -> KubeObject:
    """Return an application's."""
    name = application.metadata.name
    return namespace(application.namespace, labels_of(name, "namespace", region, name))
