"""Read every payment of a drill back from the primary, after recovery."""

from collections.abc import Iterable

import aiohttp

from leeward.drill.ledger import Row

PAGE_TIMEOUT_S = 5.0


class ReadBackError(Exception):
    """The payments could not be read: losses in this run are unknown."""


async def rows(gateway_urls: Iterable[str], prefix: str, *, host: str | None = None) -> tuple[Row, ...]:
    """Return the payments whose keys start with the prefix, from the primary. Raises ReadBackError.

    Any gateway routes to the primary; if one fails, the next is tried.
    """
    headers = {"Host": host} if host else {}
    timeout = aiohttp.ClientTimeout(total=PAGE_TIMEOUT_S)
    errors: list[str] = []
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        for url in gateway_urls:
            try:
                return await _all_pages(session, url, prefix)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
                errors.append(f"{url}: {error!r}")
    raise ReadBackError(f"the payments could not be read back: {'; '.join(errors)}")


async def _all_pages(session: aiohttp.ClientSession, url: str, prefix: str) -> tuple[Row, ...]:
    found: list[Row] = []
    after = ""
    while True:
        async with session.get(f"{url}/api/payments", params={"prefix": prefix, "after": after}) as response:
            response.raise_for_status()
            page = (await response.json())["payments"]
        if not page:
            return tuple(found)
        found += [Row(payment["key"], payment["id"]) for payment in page]
        after = found[-1].key
