"""Files that are right, to be made wrong in one place."""

from pathlib import Path

from leeward.spec import Problem, ProblemsError, load

DIGEST = f"sha256:{'0' * 64}"
IMAGES = f'  images: {{digests: {{"shop:1": "{DIGEST}"}}}}\n'
PLACES = """\
apiVersion: leeward.dev/v1alpha1
kind: Fleet
metadata:
  name: atlas
spec:
  regions:
    - name: us
      location: {latitude: 38.9, longitude: -77.4}
      residency: us
    - name: eu
      location: {latitude: 50.4, longitude: 3.8}
      residency: eu
    - name: jp
      location: {latitude: 35.6, longitude: 139.7}
  links:
    - {between: [us, eu], rtt: 80ms}
    - {between: [us, jp], rtt: 150ms}
    - {between: [eu, jp], rtt: 200ms}
"""
FLEET = PLACES + IMAGES

APPLICATION = """\
apiVersion: leeward.dev/v1alpha1
kind: Application
metadata:
  name: shop
spec:
  objectives: {rto: 5s, rpo: 5s}
  service:
    image: shop:1
    command: [shop, --port, "8000"]
"""


def write(directory: Path, fleet: str = FLEET, application: str = APPLICATION) -> Path:
    """Write both files and return their directory."""
    (directory / "fleet.yaml").write_text(fleet, "utf-8")
    (directory / "application.yaml").write_text(application, "utf-8")
    return directory


def problems_of(directory: Path) -> tuple[Problem, ...]:
    """Return what is wrong with the files of a directory; nothing when they load."""
    try:
        load(directory)
    except ProblemsError as error:
        return error.problems
    return ()


def replaced(text: str, old: str, new: str) -> str:
    """Return the text with one place changed; it must be there."""
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)
