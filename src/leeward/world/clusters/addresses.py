"""The addresses of a region with a real cluster. Pods have networks of their own, which reach no loopback address.

Every region takes the whole of ``EVERYWHERE`` for its own ("any IP"), so that the WAN can listen there on the addresses
of the other regions, and pods reach it through their node.
"""

EVERYWHERE = "10.250.0.0/16"
SERVICES = "10.96.0.0/16"
"""Of ClusterIPs; each cluster has its own."""
KUBERNETES_SERVICE = "10.96.0.1"
CLUSTER_DNS = "10.96.0.10"
PODS = "10.244.0.0/16"
API_PORT = 6443


def node(index: int) -> str:
    """Return the address of the node, and of the API server, of region ``index``."""
    return f"10.250.{index}.1"


def pods(index: int) -> str:
    """Return the addresses of the pods of region ``index``'s node."""
    return f"10.244.{index}.0/24"
