import math

import pytest

from lexline.playground.pieces import bits, pieces


def word(start: int, end: int, **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "log_probability": math.log(0.25), "known": True, **more}


@pytest.mark.parametrize(
    ("text", "places", "cut"),
    [
        ("a bc, d", [(0, 1), (2, 4), (4, 5), (6, 7)], ["a", " ", "bc", ",", " ", "d"]),
        ("  a\nb ", [(2, 3), (4, 5)], ["  ", "a", "\n", "b", " "]),
        # JavaScript would count two characters for each of these.
        ("😀 a𝒳b", [(0, 1), (2, 5)], ["😀", " ", "a𝒳b"]),
        # The line end is a token, too, and a tokenizer may add one for a space.
        ("a\n\nb", [(0, 1), (1, 2), (2, 3), (3, 4)], ["a", "\n\n", "b"]),
        ("a b", [(0, 1), (1, 1), (2, 3)], ["a", " ", "b"]),
        ("no word", [], ["no word"]),
        ("", [], []),
    ],
)
def test_the_pieces_are_the_words_and_what_is_between_them(
    text: str, places: list[tuple[int, int]], cut: list[str]
) -> None:
    found = pieces(text, [word(*place) for place in places])
    assert [piece["text"] for piece in found] == cut
    assert "".join(piece["text"] for piece in found) == text
    words = [text[slice(*place)] for place in places]
    assert [piece["text"] for piece in found if "bits" in piece] == [word for word in words if word.strip()]


def test_a_word_has_its_surprise_and_what_else_was_likely() -> None:
    others = [{"word": "b", "log_probability": math.log(0.5)}]
    (piece,) = pieces("a", [word(0, 1, alternatives=others)])
    assert piece["bits"] == pytest.approx(2)
    assert piece["probability"] == pytest.approx(0.25)
    assert piece["alternatives"] == [{"word": "b", "probability": pytest.approx(0.5)}]
    assert not piece["unknown"]
    assert pieces("a", [word(0, 1, known=False)])[0]["unknown"]
    assert bits(0.0) == 0
