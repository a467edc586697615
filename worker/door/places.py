"""Which job stands on which line of an input, in little memory: an input may have millions."""

from array import array
from itertools import chain

_FIRST = 1024
_RECENT = 12_288
"""More than are read while a chunk is stored, after which they are forgotten."""


class Places:
    """The place of each (custom_id, model): 12 bytes a slot, of which two thirds are used at most, where a dictionary of the
    ids takes 200 bytes for each. A dictionary, which is faster, has those of the last lines.

    Ids are distinguished by 64 bits of hash, which differ in every process: among ten million ids two are taken for one with
    a chance of one in 300,000, and the second is refused then; submitted again, both are taken.

    >>> places = Places()
    >>> places.setdefault("a", "m:1", 7), places.setdefault("a", "m:1", 8), places.get("a", "m:2")
    (7, 7, None)
    """

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._hashes, self._places = _empty(_FIRST)
        self._used = 0

    def setdefault(self, custom_id: str, model: str, place: int) -> int:
        """The place of a job, which is ``place`` (from 1) where it has none yet."""
        key = hash((custom_id, model))
        first = self._recent.get(key) or (self._places[self._slot(key)] if self._used else 0)
        if first:
            return first
        if len(self._recent) == _RECENT:
            self._pack()
        self._recent[key] = place
        return place

    def get(self, custom_id: str, model: str) -> int | None:
        """The place of a job, or None."""
        key = hash((custom_id, model))
        return self._recent.get(key) or self._places[self._slot(key)] or None

    def forget(self, last: int) -> None:
        """Forget all places up to ``last``."""
        packed = zip(self._hashes, self._places, strict=True) if self._used else ()
        kept = [item for item in chain(packed, self._recent.items()) if item[1] > last]
        self._recent = {}
        self._hashes, self._places = _empty(_FIRST)
        self._used = 0
        for key, place in kept:
            if len(self._recent) == _RECENT:
                self._pack()
            self._recent[key] = place

    def _pack(self) -> None:
        """Put the recent ones where they take less memory."""
        self._used += len(self._recent)
        while self._used * 3 > len(self._places) * 2:
            self._grow()
        for key, place in self._recent.items():
            slot = self._slot(key)
            self._hashes[slot], self._places[slot] = key, place
        self._recent = {}

    def _slot(self, key: int) -> int:
        """Where ``key`` is, or belongs."""
        hashes, places, last = self._hashes, self._places, len(self._places) - 1
        slot = key & last
        while places[slot] and hashes[slot] != key:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        hashes, places = self._hashes, self._places
        self._hashes, self._places = _empty(2 * len(places))
        for key, place in zip(hashes, places, strict=True):
            if place:
                slot = self._slot(key)
                self._hashes[slot], self._places[slot] = key, place


def _empty(size: int) -> "tuple[array[int], array[int]]":
    return array("q", bytes(8 * size)), array("i", bytes(4 * size))
