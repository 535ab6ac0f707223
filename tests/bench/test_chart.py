"""Charts: well-formed images whose lengths and places are the figures."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.chart import Bar, Group, Line, bar_chart, line_chart


def test_a_bar_chart_is_an_image_with_its_figures_as_text() -> None:
    """Well-formed XML, lengths in proportion within a group, every label and figure readable."""
    image = bar_chart(
        "A < B", "about it", [Group("one & only", [Bar("x", 50, "50 µs", "a"), Bar("y", 100, "100 µs")])]
    )
    root = ET.fromstring(image)  # noqa: S314 - our own
    widths = [float(each.get("width", "")) for each in root.findall("{*}rect")[1:]]
    texts = [each.text for each in root.findall("{*}text")]

    assert root.findtext("{*}title") == "A < B"
    assert widths[1] == pytest.approx(2 * widths[0])
    assert texts == ["A < B", "about it", "one & only", "x", "50 µs", "y", "100 µs"]
    assert "prefers-color-scheme: dark" in image


def test_a_line_chart_has_an_axis_from_zero_and_a_decade_a_step() -> None:
    """Equal factors are equally far apart, and every point lies inside."""
    image = line_chart(
        "growth", "sessions", "µs", [Line("ours", [(1, 300), (10, 150), (1000, 210)]), Line("flat", [(5, 0)])]
    )
    root = ET.fromstring(image)  # noqa: S314 - our own
    places = [
        tuple(float(part) for part in point.split(","))
        for point in root.findall("{*}polyline")[0].get("points", "").split()
    ]
    texts = [each.text for each in root.findall("{*}text")]

    assert 2 * (places[1][0] - places[0][0]) == pytest.approx(places[2][0] - places[1][0], abs=0.2)
    assert places[0][1] < places[2][1] < places[1][1]
    assert {"0", "100", "300", "1", "10", "1,000", "ours", "flat"} <= set(texts)
    assert all(0 < x < 800 and 0 < y < float(root.get("height", "")) for x, y in places)
