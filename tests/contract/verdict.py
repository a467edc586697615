"""How a played scene differs from the recorded one, exceptions aside."""

from collections.abc import Collection, Sequence

from tests.contract.compare import differences, order_differences, residency_differences
from tests.contract.exceptions import reason
from tests.contract.recording import Scene
from tests.contract.replay import Played


def problems(recorded: Scene, played: Sequence[Played], *, paths_left_out: Collection[str] = ()) -> list[str]:
    """Every difference, one a line; the answers of some paths may be left out."""
    found = [
        f"[{one.exchange}] {difference}"
        for one in played
        if one.exchange.path not in paths_left_out
        for difference in differences(one)
        if reason(recorded.line, recorded.name, one.exchange.label, one.exchange.number) is None
    ]
    return [*found, *order_differences(played), *residency_differences(recorded, played)]
