"""Which job stands on which line of an input, in little memory: an input may have millions."""

from array import array

_FIRST = 1024


class Places:
    """The place of each (custom_id, model): 12 bytes a slot, of which two thirds are used at most, where a dictionary of the
    ids takes 200 bytes for each.

    Ids are distinguished by 64 bits of hash, which differ in every process: among ten million ids two are taken for one with
    a chance of one in 300,000, and the second is refused then; submitted again, both are taken.

    >>> places = Places()
    >>> places.setdefault("a", "m:1", 7), places.setdefault("a", "m:1", 8), places.get("a", "m:2")
    (7, 7, None)
    """

    def __init__(self) -> None:
        self._hashes, self._places = _empty(_FIRST)
        self._used = 0

    def setdefault(self, custom_id: str, model: str, place: int) -> int:
        """The place of a job, which is ``place`` (from 1) where it has none yet."""
        key = hash((custom_id, model))
        slot = self._slot(key)
        if self._places[slot]:
            return self._places[slot]
        self._hashes[slot], self._places[slot] = key, place
        self._used += 1
        if self._used * 3 > len(self._places) * 2:
            self._grow()
        return place

    def get(self, custom_id: str, model: str) -> int | None:
        """The place of a job, or None."""
        return self._places[self._slot(hash((custom_id, model)))] or None

    def forget(self, last: int) -> None:
        """Forget all places up to ``last``."""
        kept = [(key, place) for key, place in zip(self._hashes, self._places, strict=True) if place > last]
        self._hashes, self._places = _empty(len(self._places))
        self._used = len(kept)
        for key, place in kept:
            slot = self._slot(key)
            self._hashes[slot], self._places[slot] = key, place

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
