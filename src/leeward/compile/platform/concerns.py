"""The concerns of this group: what a cluster is made of and how it is supplied."""

from leeward.compile.concern import Concern, FleetConcerns
from leeward.compile.platform.cluster_api import cluster_api
from leeward.compile.platform.delivery import argo_cd
from leeward.compile.platform.nodes import interruptible, node_pools

CONCERNS = (Concern("interruptible", interruptible),)
FLEET_CONCERNS: FleetConcerns = {"nodes": node_pools, "argocd": argo_cd, "cluster-api": cluster_api}
ELSEWHERE = ("cluster-api",)
"""Parts that are not the cluster's own: they go to the management cluster."""
