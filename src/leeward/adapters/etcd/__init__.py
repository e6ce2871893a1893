"""The quorum store over etcd's v3 JSON gateway, and how its members are started.

``quorum`` implements the port, ``gateway`` carries the requests, ``wire`` is the JSON of both ways (pure),
``arguments`` is a member's command line (pure), ``members`` replaces a member that lost its data, ``backup`` makes and
checks backups and makes data directories of them, ``restoring`` gives a backup a new generation, ``maintenance`` is
what an agent does to its own member, ``programs`` finds the binaries.
"""
