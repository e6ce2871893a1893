"""The region's gateway as Envoy, configured through files (filesystem xDS).

``settings`` says where it listens and who its peers are; ``bootstrap`` is what Envoy starts with;
``render`` turns routes into the watched files (``clusters``, ``routes``, ``listeners``); ``gateway`` writes
them and waits until Envoy confirms. All but ``gateway`` is pure.

Between regions there is one port, 8443, with two names (SNI) behind it: ``http.R``, requests for R's own
pods, and ``postgres.R``, streams to R's PostgreSQL inside HTTP/2 CONNECT. Both travel over connections that are kept
open, so a new request or stream to a peer pays no TCP or TLS handshake.
"""
