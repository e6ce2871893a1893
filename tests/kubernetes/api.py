"""What our client does not do: ask an API server strictly, without effect, and hear its warnings."""

import http.client
import json
import re
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from leeward.adapters.kubernetes.client import FIELD_MANAGER, Connection, path_of
from leeward.ports.cluster import KubeObject, Resource

CALL_S = 60.0
# RFC 7234: code, agent and the text in quotes, quotes inside escaped.
_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to an object."""

    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def complaints(self) -> list[str]:
        """Every reason why the object is not as it should be; empty when it is."""
        refused = [f"{self.status}: {self.body.get('message', self.body)}"] if self.status >= 400 else []
        return [*refused, *(f"warning: {warning}" for warning in self.warnings)]


class Api:
    """One connection to one API server; not for several threads at a time."""

    def __init__(self, connection: Connection) -> None:
        tls = ssl.create_default_context(cafile=None if connection.ca_file is None else str(connection.ca_file))
        if connection.certificate_file is not None:
            tls.load_cert_chain(connection.certificate_file, connection.key_file)
        address = urlsplit(connection.url)
        assert address.hostname is not None
        self._http = http.client.HTTPSConnection(address.hostname, address.port, timeout=CALL_S, context=tls)
        self._kinds: dict[str, dict[str, Resource]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and text of a path. Raises OSError."""
        try:
            self._http.request("GET", path)
            with self._http.getresponse() as response:
                return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise OSError(f"{path}: {error}") from error

    def serves(self, api_version: str, kind: str) -> bool:
        """Return whether the server knows a kind."""
        return self._resource(api_version, kind) is not None

    def apply(self, item: KubeObject, *, dry_run: bool = False, manager: str = FIELD_MANAGER) -> Answer:
        """Apply an object, unknown and repeated fields refused; with ``dry_run`` nothing is stored."""
        resource = self._resource(item["apiVersion"], item["kind"])
        if resource is None:
            return Answer(404, {"message": f"no kind {item['kind']} in {item['apiVersion']} is served"}, ())
        metadata = item["metadata"]
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        self._http.request(
            "PATCH",
            f"{path_of(resource, metadata.get('namespace'), metadata['name'])}?{urlencode(query)}",
            body=json.dumps(item),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        with self._http.getresponse() as response:
            lines = response.headers.get_all("Warning") or []
            warnings = tuple(json.loads(f'"{text}"') for line in lines for text in _WARNING.findall(line))
            return Answer(response.status, json.loads(response.read()), warnings)

    def _resource(self, api_version: str, kind: str) -> Resource | None:
        """Return where a kind is served. A version whose kinds are known is not asked for again."""
        if kind not in self._kinds.get(api_version, {}):
            group, _, version = api_version.rpartition("/")
            status, text = self.ask(f"/apis/{api_version}" if group else f"/api/{version}")
            rows = json.loads(text)["resources"] if status == 200 else []
            self._kinds[api_version] = {
                row["kind"]: Resource(group, version, row["name"], row["kind"], namespaced=row["namespaced"])
                for row in rows
                if "/" not in row["name"]
            }
        return self._kinds[api_version].get(kind)
