"""How requests reach an application: meshes, gateways, network policies, joined networks, DNS records, canaries."""
