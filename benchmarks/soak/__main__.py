"""``python -m benchmarks.soak``: does every job end once, whatever breaks? About five minutes a seed."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.soak.run import soak


def main() -> int:
    given = _arguments()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="caravan-soak-"))
    failed = False
    for seed in given.seed or [1]:
        place = folder / f"seed-{seed}"
        soaked = soak(place, seed=seed, jobs=given.jobs, minutes=given.minutes)
        print(soaked.figures(), flush=True)
        for wrong in soaked.wrong():
            failed = True
            print(f"  WRONG: {wrong}", flush=True)
    print(f"logs, diaries and journals: {folder}", flush=True)
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", metavar="N", help="repeat for more; default: 1")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument(
        "--minutes", type=float, default=4.0, help="of trouble; then all is mended and finishes"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where logs go; default: a new one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
