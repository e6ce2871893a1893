"""The region's gateway as Envoy, configured through files (filesystem xDS).

``settings`` has its addresses and its peers; ``bootstrap`` is what Envoy starts with;
``render`` turns routes into the watched files (``clusters``, ``routes``, ``listeners``); ``gateway`` writes
them and waits until Envoy confirms. All but ``gateway`` is pure.

Between regions there is one port, 8443, with three names (SNI) behind it: ``http.R``, requests for R's own
pods, ``postgres.R``, streams to R's databases inside HTTP/2 CONNECT that name the application, and ``services.R``,
requests for services that R exports (``services``). The first two travel over connections that are kept open, and for
each application a few tunnels wait in reserve, so a new stream to a peer gets its first byte after one round trip.
Measured at 200 ms: 205 ms, against 610 ms for plain TLS streams and 407 ms for tunnels opened on demand. Preconnected
streams (``preconnect_policy``, TLS) also reach 205 ms, but not the first, and each one occupies a backend of
PostgreSQL.

Nothing waits for ever: a session that is silent for a day is closed, TCP keepalives find a host that vanished, and a
tunnel whose client hangs up before it has sent anything ends with it (``listeners._late``). The numbers are in
docs/concepts/world.md.

Known limit: a server that closes first while its client still has a backlog to read cuts the end of it off, with a
reset (Envoy issue 28329). In PostgreSQL's protocol the client closes first, but for FATAL errors.
"""
