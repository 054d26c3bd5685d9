"""The body of a request is read without loss, or refused for a reason that its sender can act on."""

import json
from typing import Any

import pytest

from request_body import FIELDS, InvalidRequest, read


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        read(body)
    return refused.value


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0, "temperature": 0.001, "words": 1},
        {"seed": 2**32 - 1, "temperature": 100, "words": 1000, "prompt": "x" * 10_000},
        {"prompt": "\U0001f600" * 10_000, "top_k": 1, "top_p": 1},
        {"top_k": 1_000_000, "top_p": 1e-9},
    ],
)
def test_limits_are_inclusive(fields: dict[str, Any]) -> None:
    assert read(json.dumps(fields).encode()) == fields


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", json.dumps(dict.fromkeys(FIELDS)).encode()])
def test_null_and_an_empty_body_leave_fields_out(body: bytes) -> None:
    assert read(body) == {}


@pytest.mark.parametrize("written", ["100", "100.0", "1e2", "1.0E+2", "100." + "0" * 5000])
def test_json_has_one_kind_of_number(written: str) -> None:
    (words,) = read(b'{"words": %s}' % written.encode()).values()
    assert (words, type(words)) == (100, int)
    assert read(b'{"temperature": %s}' % written.encode()) == {"temperature": 100.0}


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("seed", "-1", "must be a whole number from 0 to 4,294,967,295"),
        ("seed", "4294967296", "must be a whole number from 0 to 4,294,967,295"),
        ("seed", "100.5", "must be a whole number from 0 to 4,294,967,295"),
        ("seed", '"1"', "must be a whole number"),
        ("words", "0", "must be a whole number from 1 to 1,000"),
        ("words", "true", "must be a whole number"),
        # More digits than Python converts to an integer.
        ("words", "9" * 5000, "must be a whole number from 1 to 1,000"),
        ("words", "-1e999", "must be a whole number from 1 to 1,000"),
        ("temperature", "0", "must be a number from 0.001 to 100"),
        ("temperature", "100.1", "must be a number from 0.001 to 100"),
        ("temperature", "1e999", "must be a number from 0.001 to 100"),
        ("temperature", "false", "must be a number"),
        ("top_k", "0", "must be a whole number from 1 to 1,000,000"),
        ("top_k", "1000001", "must be a whole number from 1 to 1,000,000"),
        ("top_p", "0", "must be a number above 0 and at most 1"),
        ("top_p", "1.1", "must be a number above 0 and at most 1"),
        ("top_p", '"0.9"', "must be a number"),
        ("prompt", "3", "must be a string"),
        ("prompt", '["x"]', "must be a string"),
        ("prompt", json.dumps("x" * 10_001), "must have at most 10,000 characters; this one has 10,001"),
        ("prompt", r'"\ud83d"', "must be valid Unicode; it holds half of a surrogate pair"),
        ("prompt", r'"a\u0000b"', "must not have NUL characters"),
        ("Words", "5", "is not a field of this request; there are seed, temperature, words, prompt,"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_must_be(field: str, value: str, problem: str) -> None:
    refused = refusal(b'{"%s": %s}' % (field.encode(), value.encode()))
    assert refused.fields.keys() == {field}
    assert refused.fields[field].startswith(problem)
    assert str(refused) == f"{field} {refused.fields[field]}."


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "is not valid JSON: Expecting property name"),
        (b'{"words": 01}', "is not valid JSON: Expecting ',' delimiter: line 1 column 12"),
        (b'{"temperature": NaN}', "is not valid JSON: NaN is not a JSON number"),
        (b'{"temperature": -Infinity}', "is not valid JSON: -Infinity is not a JSON number"),
        (b"[" * 60_000, "is nested too deep"),
        (b'{"prompt": ' + b'{"a":' * 20_000, "is nested too deep"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"words": 1, "words": 2}', "gives the field words twice"),
        (b'{"prompt": "caf\xe9"}', "is not UTF-8: the byte at offset 15 is invalid"),
        (b'{"prompt": "\xed\xa0\x80"}', "is not UTF-8: the byte at offset 12 is invalid"),
        (b'\xef\xbb\xbf{"words": 1}', "begins with a byte order mark"),
        (b'{"prompt": "a\0b"}', "has a NUL byte, at offset 13"),
        ('{"words": 1}'.encode("utf-16-le"), "has a NUL byte, at offset 1"),
        (b" " * 1_140_000, "has 1,140,000 bytes; at most 1,048,576 are read"),
        (json.dumps(dict.fromkeys(map(str, range(9000)))).encode(), "has 9,000 fields; there are only seed,"),
    ],
)
def test_a_body_that_is_no_request_is_refused_for_its_true_reason(body: bytes, sentence: str) -> None:
    refused = refusal(body)
    assert str(refused).startswith(f"The body {sentence}")
    assert not refused.fields


@pytest.mark.parametrize("name", ["x" * 100_000, "\ud83d", "\ud83d" * 100])
def test_an_unknown_name_is_shortened_to_text_that_can_be_logged(name: str) -> None:
    refused = refusal(json.dumps({name: 1}).encode())
    (shown,) = refused.fields
    assert len(shown) <= 50
    assert len(str(refused).encode()) < 300


def test_every_wrong_field_is_named() -> None:
    refused = refusal(b'{"words": 0, "wrods": 3, "prompt": 4, "seed": 5}')
    assert refused.fields.keys() == {"words", "wrods", "prompt"}
