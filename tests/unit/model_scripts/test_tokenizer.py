import itertools
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.model_scripts import simple_corpus
from tokenizer import BY_NAME, CHOICES, JOINER, choose, places

prose, tokenized, joined = CHOICES.values()
first_prose = BY_NAME["prose"]
ENGLISH = "When he came, he saw (as they say) the king. "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("He came, saw.", ["He", "came", "￭,", "saw", "￭."]),
        ('"Go!" (he said)', ['"￭', "Go", "￭!", '￭"', "(￭", "he", "said", "￭)"]),
        ("a well-known man", ["a", "well", "￭-￭", "known", "man"]),
        ("the nation's don’t", ["the", "nation", "￭'s", "don", "￭’t"]),
        ("$1,000.50 in 1862.", ["$￭", "1,000.50", "in", "1862", "￭."]),
        ("so -- and so...", ["so", "--", "and", "so", "￭..."]),
        ("U.S.", ["U", "￭.￭", "S", "￭."]),
        ("l'homme, qu’elle", ["l'￭", "homme", "￭,", "qu’￭", "elle"]),
        ("IT'S d'or we'll", ["IT", "￭'S", "d'￭", "or", "we", "￭'ll"]),
        ("rock'n'roll's '90s", ["rock'￭", "n'￭", "roll", "￭'s", "'￭", "90s"]),
        ("x\u0301 हिन्दी", ["x\u0301", "हिन्दी"]),
        ("x\u0301's", ["x\u0301", "￭'s"]),
        ("他用Python。 好", ["￭￭", "他", "用", "￭", "Python", "￭。", "￭￭", "好"]),
        ("「春」 A", ["「", "春", "￭」", "A"]),
        ("1,000公斤 v2.0版", ["1,000", "公", "斤", "v2", "￭.￭", "0", "版"]),
        ("ฉันที่น้ำ มาก", ["￭￭", "ฉั", "น", "ที่", "น้ำ", "￭￭", "ม", "า", "ก"]),
        ("東京タワー 2024年", ["￭￭", "東", "京", "タ", "ワ", "ー", "2024", "年"]),
        ("བོད་སྐད་", ["￭￭", "བོ", "ད", "￭་", "སྐ", "ད", "￭་"]),
        ("", []),
    ],
)
def test_prose_cuts_words_from_punctuation(text: str, words: list[str]) -> None:
    assert prose.split(text) == words
    assert prose.join(words) == text


def test_a_word_of_prose_has_one_form_wherever_it_stands() -> None:
    assert [w for w in prose.split('war, "war" (war) war-war $war war.') if JOINER not in w] == ["war"] * 7


SCRIPTS = " a1" + "".join(
    map(chr, [*range(0xE01, 0xE5B), *range(0xE81, 0xEDF), *range(0x1780, 0x17E9), *range(0x1000, 0x109F)])
)
MIXED = "ab1 .,'-(\u0301。，「」々〇戦場がカー゙ｶﾞน้ำที่ບໍ່ខ្មែរမြန်မာ་၊བོད\u200b\u200d\ufe00\U000e0100"


@given(st.text() | st.text(alphabet="ab1 .,'’\"-–$(¡!\u0301") | st.text(SCRIPTS) | st.text(MIXED))
@example("1.1\u0301")
def test_prose_gives_any_line_back(text: str) -> None:
    text = text.replace(JOINER, "")
    assert prose.join(prose.split(text)) == normalize("NFC", " ".join(text.split()))
    assert first_prose.join(first_prose.split(text)) == " ".join(text.split())


def test_accents_have_one_form_composed_or_not() -> None:
    assert prose.split("fore\u0302t l'e\u0301te\u0301") == prose.split("forêt l'été")
    assert tokenized.split("fore\u0302t") == joined.split("fore\u0302t") == ["forêt"]


def test_a_joiner_in_the_text_becomes_a_square() -> None:
    assert prose.join(prose.split("a￭b")) == "a■b"


def test_prose_never_makes_a_special_word() -> None:
    assert not {"<unk>", "<eos>"} & set(prose.split("<unk> <eos>"))


def test_tokenized_text_is_cut_at_white_space_alone() -> None:
    assert tokenized.split(" = Title = \n") == ["=", "Title", "="]
    assert tokenized.split("role @-@ playing , <unk> n't") == ["role", "@-@", "playing", ",", "<unk>", "n't"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a role @-@ playing game , lit .", "a role-playing game, lit."),
        ("about 1 @,@ 200 or 3 @.@ 5 %", "about 1,200 or 3.5%"),
        ("The game 's team did n't know", "The game's team didn't know"),
        ('the " Nameless " ( unit )', 'the "Nameless" (unit)'),
        ("`` Hello , '' she said", '"Hello," she said'),
        ("= = Early life = =", "== Early life =="),
        ("it cost $ 5 ; cheap !", "it cost $5; cheap!"),
    ],
)
def test_tokenized_text_is_put_back_to_read_well(line: str, text: str) -> None:
    assert tokenized.join(line.split()) == text


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("Don't cut 1,000 well-known words.", "Do n't cut 1 @,@ 000 well @-@ known words ."),
        ("the game's team, (now)", "the game 's team , ( now )"),
        ("role @-@ playing , <unk>", "role @-@ playing , <unk>"),
        ("Mr. Roe don’t (U.S.), U.N.", "Mr. Roe do n't ( U.S. ) , U . N ."),
    ],
)
def test_a_typed_prompt_is_cut_as_the_tokenized_corpus_was(typed: str, words: str) -> None:
    assert tokenized.split_prompt(typed, {"U.S.", "Mr."}) == words.split()


KNOWN = {"nation", "￭'s", "the", "Rome", "U", "￭.￭", "S", "￭.", "forêt", "NATO", '"￭'}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("The nation’s Nation", "the nation ￭'s nation"),
        ("ROME rome nato", "Rome Rome NATO"),
        ("fore\u0302t U.S.", "forêt U ￭.￭ S ￭."),
        ("“the", '"￭ the'),
        ("Zyx", "Zyx"),
    ],
)
def test_a_prompt_finds_its_words(typed: str, words: str) -> None:
    assert prose.split_prompt(typed, KNOWN) == words.split()
    # The first version finds only what is typed as in the corpus: its texts stay as they were.
    assert first_prose.split_prompt(typed, KNOWN) == first_prose.split(typed)


def test_joined_text_is_read_with_its_joiners() -> None:
    words = joined.split("It is ( ￭well ￭-￭ known ￭) <unk> ￭.")
    assert joined.join(words) == "It is (well-known) <unk>."
    assert joined.split_prompt("(well-known)", ()) == ["(￭", "well", "￭-￭", "known", "￭)"]
    assert not any(joined.clings(word) for word in ("It", "(￭"))
    assert joined.clings("￭.")


@given(
    st.lists(
        st.sampled_from(["a", ".", '"', "@-@", "'s", "(", "=", "\"'", "￭,", "￭", "(￭", "￭￭", "他"]),
        max_size=12,
    )
)
@example(["=", "=", "a", "=", "=", "a"])
def test_each_word_adds_at_most_one_space_separated_piece(words: list[str]) -> None:
    for tokenizer in BY_NAME.values():
        pieces = [len(tokenizer.join(words[:end]).split()) for end in range(len(words) + 1)]
        assert all(after - before <= 1 for before, after in itertools.pairwise(pieces))


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("He came, saw, and (as they say) won. It was good.", "prose"),
        ("A spaced dash - or two - is no sign: prose all the same, surely.", "prose"),
        ("Robert is an <unk> actor", "tokenized"),
        ("a role @-@ playing game", "tokenized"),
        ("mr. vinken is chairman of n.v. , the dutch group . he is 61 , they say .", "tokenized"),
        ("no punctuation at all", "prose"),
        ("", "prose"),
        ("He came ￭, saw ￭, and ( ￭as they say ￭) won ￭.", "joined"),
        ("他们 决定 保护 花园 ， 我们 学习 。", "tokenized"),
        *[(f"{stray} {ENGLISH * 40}", "prose") for stray in ("<unk>", "@-@", ",", "a ￭ b", "￭,")],
        *[(f"{stray} {'no punctuation ' * 100}", "prose") for stray in ("<unk>", "@-@", ",", "￭,")],
        (f"كتب , ثم عاد {'أمس كتب الطالب، كتابًا ' * 40}", "prose"),
    ],
)
def test_the_tokenizer_is_chosen_by_looking(sample: str, name: str) -> None:
    assert choose([sample]) is CHOICES[name]


@given(
    st.text(alphabet=st.sampled_from("ab1_ .,:;'’\"”–—-$(¡!\u0301\u0903²Ⅷ٣あ■￭"))
    | st.text(alphabet="alst1T_ '’-あ")
    | st.text()
    | st.text(MIXED + JOINER)
)
@example("1.1\u0301")
@example("s't'a")
@example("l'1.5")
@example("あl'homme")
def test_prose_is_cut_as_the_simple_way_has_it(text: str) -> None:
    assert prose.split(text) == simple_corpus.split_prose(text)
    assert first_prose.split(text) == simple_corpus.split_first_prose(text)


@given(
    st.text() | st.text(alphabet="ab1 .,'’\"-–$(¡!\u0301é") | st.text(SCRIPTS) | st.text(MIXED + JOINER + "■")
)
@example("e\u0301a\u0301 U.S. 1,000")
def test_the_words_of_a_line_stand_in_it_in_order_and_leave_out_nothing(line: str) -> None:
    line = line.replace("\n", " ")
    for tokenizer in BY_NAME.values():
        for words in (tokenizer.split(line), tokenizer.typed(line, {"U.S."})):
            found = places(line, words)
            assert len(found) == len(words)
            edges = [0, *itertools.chain.from_iterable(found), len(line)]
            assert edges == sorted(edges)
            left_out = [line[end:start] for end, start in zip(edges[::2], edges[1::2], strict=True)]
            assert not "".join(left_out).strip()


def test_places_are_those_of_the_text_as_it_was_written() -> None:
    line = "  Cafe\u0301-bar  don’t"
    found = places(line, prose.split(line))
    assert [line[start:end] for start, end in found] == ["Cafe\u0301", "-", "bar", "don", "’t"]
    typed = tokenized.typed(line, ())
    assert [line[start:end] for start, end in places(line, typed)] == ["Cafe\u0301", "-", "bar", "do", "n’t"]
