"""The training curve in a terminal's characters."""

import math

import pytest

from lexline.display import curve

TRAIN = [(0.5, 1000.0), (1.0, 400.0), (1.5, 200.0), (2.0, 120.0)]
VALID = [(1.0, 300.0), (2.0, 150.0)]


def drawn(
    train: curve.Points = TRAIN, valid: curve.Points = VALID, epochs: int = 2, **more: object
) -> list[str]:
    options = {"width": 80, "plain": True, **more}
    return [line.plain for line in curve.draw(train, valid, epochs, **options)]  # type: ignore[arg-type]


def test_the_curve_falls_from_the_highest_to_the_lowest_perplexity() -> None:
    lines = drawn(valid=[])
    assert len(lines) == curve.ROWS + 2
    assert lines[0].startswith(" 1,000 |")
    assert lines[curve.ROWS - 1].startswith("   120 |")
    firsts = [line.partition("|")[2].find(".") for line in lines[: curve.ROWS]]
    assert firsts == sorted(firsts)
    assert firsts[0] > 0
    assert "unseen" not in lines[-1]
    assert lines[-1].endswith("2 epochs")


def test_a_training_in_progress_leaves_room_for_the_epochs_to_come() -> None:
    whole, half = drawn(epochs=2), drawn(epochs=4)
    ends = [max(len(line.rstrip()) for line in lines[: curve.ROWS]) for lines in (whole, half)]
    assert ends[0] > 70
    assert 35 < ends[1] < 45


def test_both_curves_are_drawn_and_named() -> None:
    lines = drawn()
    marks = {mark for line in lines[: curve.ROWS] for mark in line.partition("|")[2]}
    assert marks == {" ", ".", "o"}
    assert ". training text  o unseen text" in lines[-1]


def test_a_terminal_with_unicode_gets_braille_in_two_colours() -> None:
    lines = curve.draw(TRAIN, VALID, 2, 80)
    styles = {str(span.style) for line in lines[: curve.ROWS] for span in line.spans}
    assert {"blue", "yellow"} <= styles
    dots = {mark for line in lines[: curve.ROWS] for mark in line.plain.partition("│")[2]} - {" "}
    assert dots
    assert all(0x2800 < ord(mark) <= 0x28FF for mark in dots)


@pytest.mark.parametrize("width", [40, 60, 80, 300])
@pytest.mark.parametrize("plain", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, plain: bool) -> None:
    lines = drawn([(0.1, 123_456.0), *TRAIN], width=width, plain=plain)
    assert len(lines) == curve.ROWS + 2
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("train", "valid", "epochs", "width"),
    [
        ([], [], 3, 80),
        ([(0.5, 100.0)], [], 3, 80),
        ([(0.5, math.inf), (1.0, math.nan)], [(1.0, 1e40)], 3, 80),
        (TRAIN, VALID, 2, 39),
        (TRAIN, VALID, 0, 80),
    ],
)
def test_what_cannot_be_drawn_is_not(
    train: curve.Points, valid: curve.Points, epochs: int, width: int
) -> None:
    assert drawn(train, valid, epochs, width=width) == []


def test_a_flat_curve_is_in_the_middle() -> None:
    lines = drawn([(0.5, 100.0), (2.0, 100.0)], [])
    assert [number for number, line in enumerate(lines[: curve.ROWS]) if "." in line.partition("|")[2]] == [4]
