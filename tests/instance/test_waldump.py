"""Which files pg_waldump is asked to read."""

from pathlib import Path

import pytest

from leeward.instance.postgres.waldump import record_command, segment_names, stretch_command

FIRST, SECOND = "00000002000000000000000A", "00000002000000000000000B"


def test_segments_of_a_stretch_of_wal() -> None:
    assert segment_names(((1, 0x2000028, 0x4000000), (2, 0x1FF000000, 0x200000001))) == (
        "000000010000000000000002",
        "000000010000000000000003",
        "0000000200000001000000FF",
        "000000020000000200000000",
    )


@pytest.mark.parametrize(
    ("end_lsn", "names"),
    [
        pytest.param(0xB000000, (FIRST, FIRST), id="it ends where its segment does"),
        pytest.param(0xB000008, (FIRST, SECOND), id="it goes on in the next segment"),
    ],
)
def test_a_stretch_is_read_from_named_files(end_lsn: int, names: tuple[str, str]) -> None:
    command = stretch_command(Path("/bin"), Path("/wal"), (2, 0xA000028, end_lsn))
    assert command == ("/bin/pg_waldump", "--path=/wal", "--start=0/A000028", f"--end=0/{end_lsn:X}", *names)


def test_a_record_may_go_on_in_the_next_segment(tmp_path: Path) -> None:
    asked = (f"--path={tmp_path}", "--start=0/AFFFFF8", "--limit=1")
    assert record_command(Path("/bin"), tmp_path, 2, 0xAFFFFF8) == ("/bin/pg_waldump", *asked, FIRST)
    (tmp_path / SECOND).touch()
    assert record_command(Path("/bin"), tmp_path, 2, 0xAFFFFF8) == ("/bin/pg_waldump", *asked, FIRST, SECOND)
