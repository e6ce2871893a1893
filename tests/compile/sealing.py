"""Fleets whose secrets are sealed, and the SealedSecrets that answer them."""

from pathlib import Path
from typing import Any

from leeward.compile import compile_parts
from leeward.compile.site import all_clusters
from leeward.spec import Spec
from leeward.spec.load import documents_of, resolve
from leeward.world.objects import engine_commands

CIPHERTEXT = "AgBy3i4OJSWK+PiTySYZZA9rO43cGDEq"
Document = dict[str, Any]


def with_secrets(example: Path, by: str) -> Spec:
    """Return an example whose fleet gets its secrets another way."""
    documents, problems = documents_of(example)
    for document in documents:
        if document.data["kind"] == "Fleet":
            document.data["spec"]["secrets"] = {"by": by}
    return resolve(str(example), documents, problems)


def sealed_for(example: Path) -> list[Document]:
    """Return what a person who sealed everything for every cluster would have beside the files."""
    return sealed_answers(with_secrets(example, "external-secrets"))


def sealed_answers(spec: Spec) -> list[Document]:
    """Return a SealedSecret for every reference that External Secrets would be given."""
    return [
        {
            "apiVersion": "bitnami.com/v1alpha1",
            "kind": "SealedSecret",
            "metadata": {
                "name": item["metadata"]["name"],
                "namespace": item["metadata"]["namespace"],
                "annotations": {"leeward.dev/clusters": cluster.name},
            },
            "spec": {
                "encryptedData": {each["secretKey"]: f"{CIPHERTEXT}{cluster.name}" for each in item["spec"]["data"]},
                "template": {
                    "metadata": {"name": item["metadata"]["name"], "namespace": item["metadata"]["namespace"]}
                },
            },
        }
        for _, cluster in all_clusters(spec)
        for part in compile_parts(spec, cluster.name, engines=engine_commands())
        for item in part.objects
        if item["kind"] == "ExternalSecret"
    ]
