"""etcd's JSON: keys and values are base64, 64-bit integers are strings, zero values are left out. Pure."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leeward.ports.quorum import Change, Compare, Delete, Entry, Outcome, Put, Snapshot

PROGRESS_S = 0.5
"""How often a member reports progress to an idle watch."""
INVALID_ARGUMENT = 3
"""gRPC's code for a request that can never succeed."""


class CanceledError(Exception):
    """The member ended a watch: it lost its leader, or it stops."""


class CompactedAtError(Exception):
    """The member ended a watch: its history begins after where the watch should start."""


def text64(text: str) -> str:
    """Return the text as base64."""
    return base64.b64encode(text.encode()).decode()


def text_of(encoded: str) -> str:
    """Return the text that ``text64`` encoded."""
    return base64.b64decode(encoded).decode()


def prefix_range(prefix: str) -> dict[str, str]:
    """Return the key range that holds every key beginning with ``prefix``; all keys when it is empty."""
    start = prefix.encode()
    # UTF-8 never ends in 0xff, so adding one to the last byte does not carry.
    end = start[:-1] + bytes([start[-1] + 1]) if start else b"\0"
    return {
        "key": base64.b64encode(start or b"\0").decode(),
        "range_end": base64.b64encode(end).decode(),
    }


def transaction(compares: Iterable[Compare], changes: Iterable[Put | Delete]) -> dict[str, Any]:
    """Return the body of a transaction: all changes if every key is unchanged since its revision."""
    return {
        "compare": [
            {
                "key": text64(compare.key),
                "target": "MOD",
                "result": "EQUAL",
                # A key that does not exist has modification revision 0.
                "mod_revision": str(compare.revision),
            }
            for compare in compares
        ],
        "success": [_operation(change) for change in changes],
    }


def _operation(change: Put | Delete) -> dict[str, Any]:
    if isinstance(change, Put):
        return {"request_put": {"key": text64(change.key), "value": text64(change.value)}}
    return {"request_delete_range": {"key": text64(change.key)}}


def watch_request(prefix: str, start_revision: int) -> dict[str, Any]:
    """Return the body that opens a watch. Never fragmented: one revision comes in one response."""
    return {
        "create_request": {
            **prefix_range(prefix),
            "start_revision": str(start_revision),
            "progress_notify": True,
        }
    }


def snapshot_of(reply: Mapping[str, Any]) -> Snapshot:
    """Return a range's reply as a snapshot."""
    entries = {
        text_of(pair["key"]): Entry(text_of(pair.get("value", "")), int(pair["mod_revision"]))
        for pair in reply.get("kvs", ())
    }
    return Snapshot(_revision(reply), entries)


def outcome_of(reply: Mapping[str, Any]) -> Outcome:
    """Return a transaction's reply as an outcome."""
    return Outcome(bool(reply.get("succeeded", False)), _revision(reply))


@dataclass(frozen=True, slots=True)
class Header:
    """What every answer of a member begins with: which cluster it is of, and up to which revision it is."""

    cluster: str
    revision: int


def header_of(reply: Mapping[str, Any]) -> Header:
    """Return the header of an answer."""
    return Header(str(reply["header"].get("cluster_id", "")), _revision(reply))


def created_of(line: bytes) -> Header | None:
    """Return the header of a watch's first response, which confirms that it was created; None for any other."""
    result = json.loads(line).get("result", {})
    return header_of(result) if result.get("created") and not result.get("canceled") else None


def any_key(prefix: str) -> dict[str, Any]:
    """Return the body of a linearizable read that asks for next to nothing but the header."""
    return {**prefix_range(prefix), "limit": "1", "keys_only": True}


def _revision(reply: Mapping[str, Any]) -> int:
    return int(reply["header"].get("revision", 0))


@dataclass(frozen=True, slots=True)
class Lines:
    """Cuts a byte stream into lines. The gateway ends every JSON object with a newline and uses none inside."""

    rest: bytes = b""

    def feed(self, chunk: bytes) -> tuple["Lines", list[bytes]]:
        """Return what remains, and the lines that ``chunk`` completed."""
        *whole, rest = (self.rest + chunk).split(b"\n")
        return Lines(rest), [line for line in whole if line]


def changes_of(line: bytes, seen: int) -> Iterator[Change]:
    """Yield a watch response's changes after revision ``seen``, one per revision; an empty one for progress.

    Raises CompactedAtError or CanceledError when the member ended the watch.
    """
    message = json.loads(line)
    if "error" in message:
        raise CanceledError(str(message["error"].get("message", message["error"])))
    result = message["result"]
    if int(result.get("compact_revision", 0)):
        raise CompactedAtError(f"history begins at revision {result['compact_revision']}")
    if result.get("canceled"):
        raise CanceledError(str(result.get("cancel_reason", "canceled by the member")))
    if result.get("created"):
        return
    events = result.get("events", ())
    if not events and _revision(result) >= seen:
        yield Change(_revision(result), {})
    by_revision: dict[int, dict[str, str | None]] = {}
    for event in events:
        pair = event["kv"]
        value = None if event.get("type") == "DELETE" else text_of(pair.get("value", ""))
        by_revision.setdefault(int(pair["mod_revision"]), {})[text_of(pair["key"])] = value
    for revision, entries in sorted(by_revision.items()):
        # A member that lags behind may start a resumed watch in its own past.
        if revision > seen:
            yield Change(revision, entries)
