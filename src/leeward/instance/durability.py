"""Find settings that weaken synchronous commits: PostgreSQL lets every client choose its own.

``synchronous_commit`` below ``on`` returns a commit before it is flushed here, or at the standbys. No right can be
revoked that prevents it, so it is looked for: set for a database or a role (``pg_db_role_setting``, complete), and in
the statement a session runs or ran last (``pg_stat_activity``, a sample). A value in a client's startup packet or in
a function's own settings is in neither.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import LiteralString

import psycopg

from leeward.instance.instance import Instance
from leeward.instance.status import Publisher
from leeward.kit.loops import Expected, repeat

PERIOD_S = 5.0
REMEMBERED_S = 60.0
"""How long a session that was seen once is reported."""

_SESSION = "a session of role"

# Values that are not weaker than ``on``, in all spellings.
_FOUND: LiteralString = """
SELECT pg_catalog.format('%s has synchronous_commit = %s',
                         pg_catalog.concat_ws(' in ', 'role ' || r.rolname, 'database ' || d.datname), s.value)
  FROM (SELECT setdatabase, setrole, pg_catalog.lower(pg_catalog.split_part(word, '=', 2)) AS value
          FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS word
         WHERE word LIKE 'synchronous_commit=%') AS s
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
 WHERE s.value <> ALL ('{on,remote_apply,true,yes,1}')
UNION
SELECT pg_catalog.format('a session of role %s in database %s sets synchronous_commit', usename, datname)
  FROM pg_catalog.pg_stat_activity
 WHERE backend_type = 'client backend' AND datname <> pg_catalog.current_database()
   AND query ~* 'set.*synchronous_commit'
"""


def weakened(seen_at_s: Mapping[str, float], found: Iterable[str], now_s: float) -> dict[str, float]:
    """Return the findings to report, each with the time it was last seen. Pure.

    A setting is reported as long as it is there, a session for a while after: samples come and go.
    """
    fresh = dict.fromkeys(found, now_s)
    remembered = {text: at_s for text, at_s in seen_at_s.items() if text.startswith(_SESSION)}
    return {text: at_s for text, at_s in {**remembered, **fresh}.items() if now_s - at_s < REMEMBERED_S}


async def watch(instance: Instance, publisher: Publisher) -> None:
    """Check every few seconds, for ever, and publish the findings in the status."""
    seen_at_s: dict[str, float] = {}

    async def check() -> None:
        nonlocal seen_at_s
        if instance.server.running:
            found = await instance.session.query(_FOUND)
            now_s = asyncio.get_running_loop().time()
            seen_at_s = weakened(seen_at_s, (str(text) for (text,) in found), now_s)
            publisher.weakened = tuple(sorted(seen_at_s))
            await instance.publish()

    # The reconcile loop reports a PostgreSQL that does not answer.
    silent = Expected((psycopg.Error, OSError), None)
    await repeat("check durability", check, every_s=PERIOD_S, expected=(silent,))
