"""Unicode is read in all its forms; another encoding is named with the command that converts it."""

import random
import shutil
import subprocess

import pytest

from tests.unit.pipeline.uploads.dataset import left_out, prepared
from uploads import encodings

# Sentences as people write them, in enough variety for a guess.
WORDS = {
    "ru": "Вчера правительство построило новую дорогу дети крестьянин написал длинное письмо историю",
    "uk": "Вчора уряд збудував нову дорогу її діти їхали повз ліс і бачили гриби ґанок щедрий вечір",
    "zh": "我们的政府 决定 经济的发展 那位老人 看见了 美丽的花园 北京的市民 学习 一封长信 教育制度 很久以前",
    "ja": "これは 日本語の 文章です 今日は 天気が いいですね 東京の 学生 新しい 道 本を 読みました",
    "ko": "이것은 한국어 문장입니다 오늘은 날씨가 좋습니다 학생 새로운 길을 만들었다 긴 편지 역사",
    "fr": "l'école déjà été aimé forêt château élève très où français garçon naïf cœur protège été",
    "de": "Größe Maß Käse für die Bäume über den Flüssen schläft Fuchs süß wäre möglich Straße",
    "pl": "zażółć gęślą jaźń idź spać wąż się śmieje źle łódź ćma żaba będzie mógł święto",
    "el": "γρήγορος λύκος πηδάει πάνω από σκυλί παλιά πόλη θάλασσα βιβλίο γράμμα ιστορία",
    "th": "รัฐบาล เด็กๆ ชาวนา นักเรียน เมื่อวานนี้ เรียนรู้ หนังสือ ถนนใหม่ ประวัติศาสตร์",
    "ar": "الحكومة الأطفال كل يوم في الشتاء كتب طريقا جديدا رسالة طويلة السلام",
}


def text(language: str, words: int = 3000) -> str:
    chance = random.Random(1)
    drawn = chance.choices(WORDS[language].split(), k=words)
    return "".join(" ".join(drawn[at : at + 12]) + ".\n" for at in range(0, words, 12))


@pytest.mark.parametrize("words", [60, 3000])
@pytest.mark.parametrize(
    ("language", "codec"),
    [
        ("ru", "cp1251"), ("ru", "koi8_r"), ("ru", "iso8859_5"), ("ru", "cp866"), ("uk", "cp1251"),
        ("zh", "gb18030"), ("zh", "big5"), ("ja", "cp932"), ("ja", "euc_jp"), ("ko", "cp949"),
        ("fr", "cp1252"), ("de", "cp1252"), ("pl", "cp1250"), ("pl", "iso8859_2"),
        ("el", "cp1253"), ("th", "cp874"), ("ar", "cp1256"), ("fr", "mac_roman"),
    ],
)  # fmt: skip
def test_the_encoding_that_is_named_gives_the_text(language: str, codec: str, words: int) -> None:
    original = text(language, words)
    if codec == "big5":
        original = original.translate(str.maketrans("们经济发导园习长", "們經濟發導園習長"))
    data = original.encode(codec, "ignore")
    entry = left_out("a.txt", data)
    assert entry.error == "DatasetNotUtf8"
    named = entry.reason.partition("`iconv -f ")[2].partition(" ")[0]
    assert named != "ISO-8859-1"
    converted = converted_by_iconv(data, named)
    assert converted == data.decode(codec)


def converted_by_iconv(data: bytes, name: str) -> str:
    """Convert with iconv, or with Python if there is no iconv here."""
    if shutil.which("iconv"):
        command = ["iconv", "-f", name, "-t", "UTF-8"]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()
    return data.decode({"MACINTOSH": "mac_roman"}.get(name, name))


@pytest.mark.skipif(not shutil.which("iconv"), reason="iconv is not installed")
def test_iconv_knows_every_encoding_that_is_usually_named() -> None:
    for codec in encodings._USUAL:
        converted_by_iconv(b"abc", encodings.iconv_name(codec))


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("words", [24, 3000])
def test_unicode_is_read_with_a_mark_and_without(language: str, codec: str, words: int) -> None:
    original = text(language, words)
    corpus = prepared({"a.txt": original.encode(codec), "b.txt": text("fr")})
    assert "a.txt" in corpus.files
    assert all(line in corpus.text for line in original.splitlines())
    notes = " ".join(corpus.notes.get("a.txt", []))
    assert notes.startswith(f"It was read as {codec[:6].upper()}") if "utf-8" not in codec else not notes


def test_utf_8_with_a_damaged_byte_is_not_taken_for_another_encoding() -> None:
    data = text("ru").encode()
    place = data.index(b"\n", 5000)
    damaged = data[:place] + b"\xff" + data[place:]
    reason = left_out("a.txt", damaged).reason
    assert f"UTF-8 with a damaged byte at {place:,}" in reason
    assert "iconv -c -f UTF-8" in reason
    assert "damaged byte" in left_out("a.txt", data[:-3]).reason


def test_damaged_utf_16_is_named() -> None:
    reason = left_out("a.txt", text("ru").encode("utf-16") + b"\x41").reason
    assert "It is UTF-16LE, and damaged" in reason


def test_the_first_bad_byte_is_named_wherever_it_is() -> None:
    latin = text("de").encode("cp1252")
    first = next(at for at, byte in enumerate(latin) if byte > 127)
    reason = left_out("a.txt", b"plain English text\n" * 100_000 + latin).reason
    assert f"byte {1_900_000 + first:,} is invalid" in reason
    assert "iconv -f CP1252" in reason


def test_guesses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    guesses: list[bytes] = []

    def guess(sample: bytes) -> str:
        guesses.append(sample)
        return "CP1251"

    monkeypatch.setattr(encodings, "_guess", guess)
    data = text("ru").encode("cp1251")
    corpus = prepared({**{f"{number}.txt": data for number in range(50)}, "z.txt": text("fr")})
    assert len(corpus.left_out) == 50
    assert all("CP1251" in reason for reason in corpus.left_out.values())
    assert len(guesses) == encodings.MOST_GUESSES
