"""The quorum store over etcd's v3 JSON gateway, and how its members are started.

``quorum`` implements the port, ``gateway`` carries the requests, ``wire`` is the JSON of both ways (pure),
``arguments`` is a member's command line (pure), ``members`` replaces a member that lost its data.
"""
