"""A container image as one file (docker-archive), from files: for nodes without a registry.

Always true: the same files and settings give the same bytes.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EXECUTABLE = 0o755


def archive(target: Path, name: str, files: Mapping[str, bytes], command: Sequence[str]) -> None:
    """Write the archive of an image of one layer; every file is executable. Raises OSError."""
    layer = _tar({path: (content, EXECUTABLE) for path, content in files.items()})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    digest = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": digest, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    parts = {digest: config, "layer.tar": layer, "manifest.json": manifest}
    target.write_bytes(_tar({path: (content, 0o644) for path, content in parts.items()}))


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path, (data, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()
