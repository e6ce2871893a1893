"""How soon a host that vanished without a word is noticed, on each kind of connection. Pure."""

# A host that vanished without a FIN is noticed after 30 + 3 * 10 s, so its connections do not stay for ever.
IDLE_S, INTERVAL_S, PROBES = 30, 10, 3
UPSTREAM_KEEPALIVE = {
    "tcp_keepalive": {
        "keepalive_time": IDLE_S,
        "keepalive_interval": INTERVAL_S,
        "keepalive_probes": PROBES,
    }
}

# A request in flight to a region that became a black hole fails after interval + timeout at most.
HTTP_KEEPALIVE = {"interval": "1s", "timeout": "1s"}
# Replication shall outlive cuts shorter than a lease; any frame that arrives extends the timeout, so a
# base backup over a slow link is safe.
POSTGRES_KEEPALIVE = {"interval": "1s", "timeout": "5s"}

# Connections that a listening socket accepts inherit its options. The numbers are Linux's.
_SOL_SOCKET, _SO_KEEPALIVE, _IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 1, 9, 6, 4, 5, 6
DOWNSTREAM_KEEPALIVE = [
    {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}
    for level, name, value in (
        (_SOL_SOCKET, _SO_KEEPALIVE, 1),
        (_IPPROTO_TCP, _TCP_KEEPIDLE, IDLE_S),
        (_IPPROTO_TCP, _TCP_KEEPINTVL, INTERVAL_S),
        (_IPPROTO_TCP, _TCP_KEEPCNT, PROBES),
    )
]
