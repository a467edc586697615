"""The recording of the demo as an animated SVG."""

import xml.etree.ElementTree as ET

from benchmarks.demo_recording import PICTURE, Frame, picture

SVG = "{http://www.w3.org/2000/svg}"


def test_each_frame_is_drawn_beside_the_one_before_and_equal_lines_are_drawn_once() -> None:
    command = ((0, "$ caravan demo", "default", False),)
    bar = ((2, "<3> of 132", "green", True),)

    drawn = ET.fromstring(picture([Frame((command, ()), 1.0), Frame((command, bar), 3.0)]))

    film = next(group for group in drawn.iter(f"{SVG}g") if group.get("id") == "film")
    lines = [[use.get("href") for use in frame.iter(f"{SVG}use")] for frame in film]
    assert lines == [["#l0"], ["#l0", "#l1"]]
    assert [text.text for text in drawn.iter(f"{SVG}text")] == ["$ caravan demo", "<3> of 132"]
    assert "25.000%" in str(drawn.findtext(f"{SVG}style"))


def test_the_recording_shows_the_loads_that_the_demo_saved() -> None:
    words = " ".join(ET.parse(PICTURE).getroot().itertext())

    assert "$ caravan demo" in words
    assert "Model loads: 3" in words


def test_a_still_screen_is_as_high_as_what_is_on_it_and_does_not_move() -> None:
    drawn = picture([Frame((((0, "$ caravan status", "default", False),), (), ()), 1.0)], "A <screen>", 80)

    assert 'viewBox="0 0 648 41"' in drawn
    assert "keyframes" not in drawn
    assert "<title>A &lt;screen&gt;</title>" in drawn
