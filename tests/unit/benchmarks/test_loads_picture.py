"""The picture of the README shows the figures that were measured."""

import pytest

from benchmarks.loads_picture import PICTURE, ROOT, picture, read_bars


def test_the_picture_is_drawn_from_the_figures_that_were_measured() -> None:
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")

    assert PICTURE.read_text(encoding="utf-8") == picture(read_bars(results))


def test_results_without_the_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="no end-to-end tables"):
        read_bars("# Nothing measured yet")
