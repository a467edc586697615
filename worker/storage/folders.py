"""Does the database lie on a network folder? There a write-ahead log cannot work: it needs memory that all processes
share (https://sqlite.org/wal.html)."""

from pathlib import Path

NETWORKED = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs"}
)
"""Those that a virtual machine shares with its host are among them: the two have no memory in common."""
LOCAL_FUSE = frozenset({"fuse.bindfs", "fuse.exfat", "fuse.mergerfs", "fuse.ntfs", "fuse.ntfs-3g"})
"""Everything else that is mounted by a program is taken to come from elsewhere: sshfs, rclone, s3fs, glusterfs …"""
_MOUNTS = Path("/proc/self/mounts")


def network_folder(path: Path, *, mounts: str | None = None) -> str | None:
    """The kind of network file system that ``path`` lies on; None for a local disk, and where nobody can tell.

    >>> network_folder(Path("/srv/home/caravan"), mounts="/dev/sda1 / ext4 rw 0 0\\nnas:/x /srv nfs4 rw 0 0")
    'nfs4'
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    resolved = path.resolve()
    best, kind = Path("/"), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(fields[1].replace("\\040", " "))
        if resolved.is_relative_to(place) and len(place.parts) >= len(best.parts):
            best, kind = place, fields[2]
    networked = kind in NETWORKED or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)
    return kind if networked else None
