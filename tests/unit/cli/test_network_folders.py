"""A database on a network folder is warned about, once, beside what the command prints."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.main import app
from worker.storage import folders
from worker.storage.folders import network_folder

MOUNTS = """/dev/sda1 / ext4 rw 0 0
nas:/export /mnt/my\\040nas nfs4 rw 0 0
me@box:/x /home/me/box fuse.sshfs rw 0 0
tmpfs /mnt/my\\040nas/fast tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/caravan", None),
        ("/mnt/my nas/caravan", "nfs4"),
        ("/mnt/my nas/fast/caravan", None),
        ("/home/me/box/caravan", "fuse.sshfs"),
    ],
)
def test_the_deepest_mount_decides(path: str, kind: str | None) -> None:
    assert network_folder(Path(path), mounts=MOUNTS) == kind


def test_a_command_warns_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/x {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(folders, "_MOUNTS", mounts)

    told = CliRunner().invoke(app, ["status"])

    assert told.exit_code == 0
    assert "network folder (nfs)" in told.stderr
    assert "local disk, or use PostgreSQL" in told.stderr
