"""``caravan simulate --host``: a name and a port."""

import pytest
import typer

from simulator.command import _name_and_port


@pytest.mark.parametrize(
    "text", ["gpu-1=23111", "gpu-1:99999", "gpu-1:", "gpu 1:80", ":23111", "http://a:1", ""]
)
def test_what_is_no_name_and_port_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected NAME:PORT or NAME"):
        _name_and_port(text)


def test_a_name_alone_takes_a_free_port() -> None:
    assert [_name_and_port(text) for text in ("gpu-1:23111", "gpu_2.lan")] == [
        ("gpu-1", 23111),
        ("gpu_2.lan", 0),
    ]
