"""Decoding: any encoding, any mixture and any cutting give the text that was written; damage stays damage and is counted."""

import codecs
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_triage.stages.decode import Damage, Decoder, line_text, missing_line_end, raw_lines
from stream_triage.stages.decode.mixed import PART_BYTES
from stream_triage.stages.decode.narrow import MAX_FAILURES

TEXTS = {
    "gb18030": "测试床不可用，请检查许可证|基站连接失败|用户设备注册超时|小区建立完成|信号强度不足，重新启动测试|参数错误",
    "big5": "測試平台無法使用，請檢查授權|基地台連線失敗|使用者設備註冊逾時|小區建立完成|訊號強度不足",
    "cp932": "試験装置に接続できません|ライセンスを確認してください|基地局の起動に失敗しました|タイムアウトが発生しました",
    "euc_jp": "試験装置に接続できません|ライセンスを確認してください|基地局の起動に失敗しました|タイムアウトが発生しました",
    "cp949": "시험 장비에 연결할 수 없습니다|라이선스를 확인하십시오|기지국 시작 실패|시간 초과 발생",
    "cp1251": "Не удалось подключиться к стенду|Проверьте лицензию|Ошибка запуска базовой станции|Истекло время ожидания",
    "koi8_r": "Не удалось подключиться к стенду|Проверьте лицензию|Ошибка запуска базовой станции|Истекло время ожидания",
    "cp866": "Не удалось подключиться к стенду|Проверьте лицензию|Ошибка запуска базовой станции|Истекло время ожидания",
    "cp850": "Gerät über 40°C|Prüfling antwortet nicht, Verbindung prüfen|Störung|Größe überschritten",
    "cp1250": "Przekroczono limit czasu połączenia|Błąd urządzenia, sprawdź licencję|Żądanie odrzucone|Zakończono próbę",
    "cp1253": "Αποτυχία σύνδεσης με τον σταθμό|Λήξη χρόνου|Ελέγξτε την άδεια|Η δοκιμή ολοκληρώθηκε",
    "cp1254": "Bağlantı kurulamadı, lisansı kontrol edin|Zaman aşımı oluştu|Cihaz yeniden başlatıldı|Şebeke hatası",
    "cp1252": "Gerät über 40°C|Prüfling antwortet nicht, Verbindung prüfen|Délai dépassé, vérifiez|Température élevée",
}
WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
MARKS = {name: "\ufeff".encode(name) for name in (*WIDE, "utf-8")}


def log(texts: str = "", every: int = 3, lines: int = 60, seed: int = 1, end: str = "\n") -> str:
    """A log of which each `every`th line has one of the texts."""
    draw = random.Random(seed)
    words = ["CONNECT 0x00 ok", "RRC setup complete, UE 7", "ATTACH REQUEST sent", "cell 3 is active", "timer T300 started"]
    shown = []
    for number in range(lines):
        text = f" {draw.choice(texts.split('|'))} 0x{number:02x}" if texts and number % every == every - 1 else ""
        shown.append(
            f"15/08/25 21:{number // 60:02}:{number % 60:02}:{draw.randrange(1000):03}\t{draw.choice(words)}{text}{end}"
        )
    return "".join(shown)


def decoded(data: bytes, sizes: list[int] = (), encoding: str = "auto") -> tuple[str, Damage, str]:
    """Text, damage and name of the encoding of `data`, fed in pieces of the given sizes and then the rest."""
    decoder, text = Decoder(encoding), ""
    for size in sizes:
        text += decoder.feed(data[:size])
        data = data[size:]
    text += decoder.feed(data) + decoder.finish()
    return text, decoder.damage, decoder.encoding


def check(data: bytes, text: str, name: str, encoding: str = "auto") -> None:
    """The data gives this text without damage, in one piece, byte by byte, and in pieces of odd sizes."""
    draw = random.Random(len(data))
    sizes = [draw.choice([1, 2, 3, 5, 64, 500, 1500]) for _ in range(len(data))]
    for cut in ([], [1] * len(data), sizes):
        assert decoded(data, cut, encoding) == (text, Damage(), name)


class TestUnicode:
    @pytest.mark.slow
    @pytest.mark.parametrize("mark", [True, False])
    @pytest.mark.parametrize("encoding", [*WIDE, "utf-8"])
    @pytest.mark.parametrize("texts", ["", *(TEXTS[name] for name in ("gb18030", "cp932", "cp949", "cp1251", "cp1252"))])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
    def test_recognised_with_and_without_mark(self, encoding: str, mark: bool, texts: str, end: str) -> None:
        """Every Unicode encoding is read, and the mark is not part of the text."""
        text = log(texts, end=end)
        check((MARKS[encoding] if mark else b"") + text.encode(encoding), text, encoding.removeprefix("utf-8"))

    @pytest.mark.parametrize("encoding", WIDE)
    def test_each_line_holds_other_letters(self, encoding: str) -> None:
        """Text in which most characters are not ASCII."""
        text = log(TEXTS["gb18030"], every=1)
        check(text.encode(encoding), text, encoding)

    @pytest.mark.slow
    @pytest.mark.parametrize("encoding", WIDE)
    @pytest.mark.parametrize(
        "text", ["\n", "\r\nfirst line is empty\r\nnext\r\n", "short", "a\nb\nc\n", "x" * 5000 + "\ny\n"]
    )
    def test_unusual_lines(self, encoding: str, text: str) -> None:
        """Empty, short and long lines with a mark before them."""
        check(MARKS[encoding] + text.encode(encoding), text, encoding)

    @pytest.mark.parametrize("encoding", WIDE)
    def test_signs(self, encoding: str) -> None:
        """Check marks and emoji are no reason to doubt."""
        text = log("✓ passed|✗ failed|→ next|😀 done|― end", every=1)
        check(text.encode(encoding), text, encoding)

    @pytest.mark.parametrize("encoding", WIDE)
    def test_empty_first_line_without_mark(self, encoding: str) -> None:
        text = "\r\n\r\nfirst line is empty, Zustand prüfen\r\nnext\r\n"
        check(text.encode(encoding), text, encoding)

    @given(
        text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"], exclude_characters="\ufeff"), max_size=50)
    )
    @pytest.mark.parametrize("encoding", WIDE)
    def test_marked_text_of_any_characters(self, encoding: str, text: str) -> None:
        """With a mark at the beginning, any characters may follow."""
        lines = log(lines=3) + text + "\n" + log(lines=3)
        assert decoded(MARKS[encoding] + lines.encode(encoding))[0] == lines

    def test_rest_of_a_cut_character(self) -> None:
        """A file that ends within a character, and half a pair, are damage."""
        data = MARKS["utf-16-le"] + "ab".encode("utf-16-le") + b"\x00\xd8" + "c\nd".encode("utf-16-le") + b"\x80"
        assert decoded(data) == ("ab\ufffdc\nd\ufffd", Damage(2, 0, 2), "utf-16-le")


class TestMixtures:
    ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")

    @pytest.mark.parametrize("mark", [True, False])
    @pytest.mark.parametrize("second", ENCODINGS)
    @pytest.mark.parametrize("first", ENCODINGS)
    @pytest.mark.parametrize("texts", ["", TEXTS["gb18030"]])
    def test_one_encoding_after_another(self, first: str, second: str, mark: bool, texts: str) -> None:
        """A tool appended to a log in its own encoding, or rotated parts differ."""
        if first == second:
            return
        texts1, text2 = log(texts, seed=1), log(texts, seed=2)
        data = texts1.encode(first) + (MARKS[second] if mark else b"") + text2.encode(second)
        check(data, texts1 + text2, f"{first}, {second}")

    @pytest.mark.parametrize("second", ["utf-16-le", "utf-16-be"])
    def test_same_encoding_with_a_mark_in_each_part(self, second: str) -> None:
        text = log(seed=1)
        check(2 * (MARKS[second] + text.encode(second)), text + text, second)

    def test_utf8_marks_between_parts(self) -> None:
        text = log(TEXTS["cp1251"])
        check(2 * (MARKS["utf-8"] + text.encode()), text + text, "")

    @pytest.mark.parametrize("wide", ["utf-16-le", "utf-16-be"])
    def test_two_writers_take_turns(self, wide: str) -> None:
        """Lines in UTF-16 between lines in ASCII."""
        lines = log(lines=40).splitlines(keepends=True)
        data = b"".join(line.encode(wide if number % 3 else "utf-8") for number, line in enumerate(lines))
        check(data, "".join(lines), f"utf-8, {wide}")

    @pytest.mark.parametrize("wide", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("marks", [True, False])
    def test_a_line_end_in_one_byte_between_parts(self, wide: str, marks: bool) -> None:
        """Tools that join parts add such a line end."""
        mark = MARKS[wide] if marks else b""
        first, second = log(TEXTS["gb18030"], seed=1).rstrip("\n"), log(TEXTS["gb18030"], seed=2)
        check(mark + first.encode(wide) + b"\n" + mark + second.encode(wide), f"{first}\n{second}", wide)

    def test_appended_within_a_line(self) -> None:
        """The first part ends without a line end."""
        first, second = log(seed=1).rstrip("\n"), log(seed=2)
        check(first.encode() + MARKS["utf-16-le"] + second.encode("utf-16-le"), first + second, "utf-8, utf-16-le")
        check(first.encode() + second.encode("utf-16-le"), first + second, "utf-8, utf-16-le")
        check(first.encode("utf-16-le") + second.encode(), first + second, "utf-16-le, utf-8")

    def test_a_few_bytes_appended(self) -> None:
        """As little as a word at the end of UTF-16 is recognised."""
        text = log()
        check(text.encode("utf-16-le") + b"done\r\n", text + "done\r\n", "utf-16-le, utf-8")

    def test_legacy_after_utf16(self) -> None:
        first, second = log(seed=1), log(TEXTS["gb18030"], seed=2)
        data = first.encode("utf-16-le") + second.encode("gb18030")
        check(data, first + second, "utf-16-le, utf-8, gb18030 (detected)")


def anything(seed: int) -> bytes:
    """Logs in several encodings, cut and joined anywhere, with damage and binary data between them."""
    draw, parts = random.Random(seed), []
    for _ in range(draw.randrange(1, 9)):
        encoding = draw.choice(["utf-8", *WIDE, *TEXTS])
        lines = log(
            TEXTS.get(encoding) or draw.choice(["", *TEXTS.values()]), draw.choice([1, 3]), draw.randrange(1, 30), seed
        )
        data = draw.choice([b"", MARKS.get(encoding, b"")]) + lines.encode(encoding, "replace")
        whole = len(data) if draw.random() < 0.6 else draw.randrange(len(data))
        parts += [
            data[:whole],
            draw.choice([b"", b"\0", b"\n", bytes(70), b"\xff\xfe", draw.randbytes(draw.randrange(200))]),
        ]
    return b"".join(parts)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(150))
def test_anything(seed: int) -> None:
    """Decoding ends, whatever comes, and gives the same text for any cutting."""
    draw, data = random.Random(seed), anything(seed)
    whole = decoded(data)
    for _ in range(3):
        sizes = [draw.choice([1, 3, 64, 65, 500, 1535, 1536]) for _ in range(draw.randrange(1, 60))]
        assert decoded(data, sizes) == whole


class TestLegacy:
    @pytest.mark.slow
    @pytest.mark.parametrize("encoding", TEXTS)
    @pytest.mark.parametrize(("every", "lines"), [(1, 20), (3, 60), (20, 400), (100, 900)])
    def test_detected_in_logs_of_mostly_ascii(self, encoding: str, every: int, lines: int) -> None:
        text = log(TEXTS[encoding], every, lines)
        check(text.encode(encoding), text, f"{encoding} (detected)")

    @pytest.mark.parametrize("encoding", TEXTS)
    def test_set_encoding_is_used(self, encoding: str) -> None:
        """Even a single word needs no guess."""
        text = log(lines=2) + TEXTS[encoding][:4] + "\n"
        check(text.encode(encoding), text, codecs.lookup(encoding).name, encoding=encoding)

    @pytest.mark.parametrize("encoding", ["iso2022_jp", "hz", "utf-16", "utf-16-le", "utf-32-be", "cp037", "utf-8-sig"])
    def test_set_encoding_in_which_bytes_depend_on_each_other(self, encoding: str) -> None:
        text = log() + {"iso2022_jp": "試験\n", "hz": "测试\n"}.get(encoding, "ok\n")
        check(text.encode(encoding), text, encoding, encoding=encoding)

    @pytest.mark.parametrize("encoding", ["utf-8", "gbk", "cp1252"])
    def test_set_encoding_and_utf16(self, encoding: str) -> None:
        """UTF-16 is recognised beside an encoding that is set."""
        text = log()
        assert decoded(text.encode("utf-16-le"), encoding=encoding)[:2] == (text, Damage())

    def test_two_legacy_encodings(self) -> None:
        """Rotated parts in different encodings: the second one is found out where the first one fails."""
        first, second = log(TEXTS["cp1252"], seed=1), log(TEXTS["cp932"], seed=2)
        check(first.encode("cp1252") + second.encode("cp932"), first + second, "cp1252 (detected), cp932 (detected)")

    def test_utf8_lines_between(self) -> None:
        """Two writers, one in UTF-8: each line is read in its own encoding."""
        lines = log(TEXTS["gb18030"], every=2).splitlines(keepends=True)
        data = b"".join(line.encode("gb18030" if number % 4 == 1 else "utf-8") for number, line in enumerate(lines))
        assert decoded(data)[:2] == ("".join(lines), Damage())

    def test_later_damage_is_visible(self) -> None:
        """Where the guess fails, the lines are damaged and counted."""
        text = log(TEXTS["gb18030"]).encode("gb18030")
        noise = b"".join(b"noise \xff\x80\xff %d\n" % number for number in range(30))
        _, damage, name = decoded(text + noise)
        assert (damage.damaged_lines, name) == (30, "gb18030 (detected)")

    @given(
        text=st.text(st.sampled_from("ab0 \n\r测试床连接失败用户"), max_size=80),
        sizes=st.lists(st.integers(0, 9), max_size=40),
    )
    def test_any_cutting_gives_the_same(self, text: str, sizes: list[int]) -> None:
        for encoding in ("gb18030", "cp932", "utf-16-le"):
            data = text.encode(encoding, "replace")
            assert decoded(data, sizes) == decoded(data)
            assert decoded(data, sizes, encoding)[0] == decoded(data, encoding=encoding)[0] == data.decode(encoding)


class TestDamage:
    def test_shown_in_place(self) -> None:
        """Invalid bytes and NULs become visible characters where they were; real U+FFFD in the text is not counted."""
        assert decoded(b"a\xffb\0c\n" + "\ufffd ok\n".encode()) == ("a\ufffdb␀c\n\ufffd ok\n", Damage(1, 1, 1), "")

    @pytest.mark.parametrize("chunk", [1, 2, 3, 100])
    def test_characters_cut_by_chunks_are_no_damage(self, chunk: int) -> None:
        text = "é€😀\n" * 30
        data = text.encode()
        assert decoded(data, [chunk] * (len(data) // chunk)) == (text, Damage(), "")

    def test_a_line_counts_once(self) -> None:
        """However many bytes of it are damaged."""
        assert decoded(b"ok\n" + b"\xff\xff \0 \xff\n" * 3 + b"ok\n")[1] == Damage(9, 3, 3)

    @pytest.mark.parametrize("texts", [TEXTS["gb18030"], TEXTS["cp932"], TEXTS["cp1251"], TEXTS["cp1252"]])
    @pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
    @pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
    def test_damaged_utf8_is_not_read_otherwise(self, texts: str, seed: int, share: float) -> None:
        """Bytes that are lost or changed in UTF-8 give replacement characters, never other letters."""
        draw, text = random.Random(seed), log(texts, every=2, lines=120)
        lines = []
        for line in text.encode().splitlines(keepends=True):
            position = next((i for i, byte in enumerate(line) if byte >= 0x80), None)
            if position is not None and draw.random() < share:
                at = draw.randrange(position, max(i for i, byte in enumerate(line) if byte >= 0x80) + 1)
                wrong = draw.choice([b"", b"\xff", bytes([draw.randrange(0x80, 0x100)])])
                lines.append(line[:at] + wrong + line[at + 1 :])
            else:
                lines.append(line)
        shown, _, name = decoded(b"".join(lines))
        assert name == ""
        assert set(shown) <= {*text, "\ufffd"} | {c for c in shown if c in b"".join(lines).decode("utf-8", "replace")}

    @pytest.mark.parametrize("seed", range(20))
    def test_noise_is_not_read_as_text(self, seed: int) -> None:
        """Single wrong bytes, as on a serial line, are damage."""
        draw, lines = random.Random(seed), []
        for line in log(lines=300).encode().splitlines(keepends=True):
            noisy = bytearray(line)
            for _ in range(draw.choice([0, 0, 1, 2])):
                noisy[draw.randrange(len(line) - 1)] = draw.randrange(0x80, 0x100)
            lines.append(bytes(noisy))
        shown, damage, name = decoded(b"".join(lines))
        assert name == ""
        assert damage.damaged_lines == sum("\ufffd" in line for line in shown.splitlines())

    @pytest.mark.parametrize("seed", range(20))
    def test_dumps_of_binary_messages(self, seed: int) -> None:
        """Raw bytes between lines of text leave the text as it is."""
        draw, lines = random.Random(seed), log(lines=200).encode().splitlines(keepends=True)
        for number in range(0, 200, draw.choice([1, 5, 20])):
            raw = bytes(
                draw.choices(draw.choice([range(256), range(128, 256), [0, 1, 2, 64, 255]]), k=draw.randrange(4, 60))
            )
            lines[number] = b"PDU " + raw.replace(b"\n", b"").replace(b"\r", b"") + b" end\n"
        text, _, name = decoded(b"".join(lines))
        assert name == ""
        shown = text.split("\n")
        assert [shown[i] for i, line in enumerate(lines) if line.isascii()] == [
            line.decode().replace("\0", "␀").rstrip("\n") for line in lines if line.isascii()
        ]

    def test_five_odd_lines(self) -> None:
        """A few lines that cannot be told count as so many lines."""
        lines = log(lines=800).encode().splitlines(keepends=True)
        for number in range(0, 800, 160):
            lines[number] = b"odd \xfc\xfe\xfd\n"
        assert decoded(b"".join(lines))[1].damaged_lines == 5

    def test_no_more_than_some_guesses(self) -> None:
        """A source that is damaged all over is not held back for ever."""
        decoder = Decoder()
        for _ in range(MAX_FAILURES * 20):
            decoder.feed(b"\xff\xfe\xfd\xfc odd line\n" + bytes(range(32, 127)) * 20 + b"\n")
        assert decoder.feed(b"\xff odd\n") == "\ufffd odd\n"

    @settings(max_examples=300)
    @example(data=b"\n\0a\0", sizes=[1])
    @given(
        data=st.lists(
            st.sampled_from([b"\0", b"\n", b"\r\n", b"a", b" text\n", b"\xff\xfe", b"\xfe\xff", b"x\0y\0\n\0", b"\0x\0y\0\n",
                             b"\xd7\xca", b"\xe2\x82", bytes(64), bytes(100), "€\n".encode(), b"plain line of text\n"])
            | st.binary(max_size=8),
            max_size=60,
        ).map(b"".join),
        sizes=st.lists(st.integers(0, 90), max_size=60),
    )  # fmt: skip
    def test_any_cutting_of_any_bytes_gives_the_same(self, data: bytes, sizes: list[int]) -> None:
        assert decoded(data, sizes) == decoded(data)

    @settings(max_examples=50)
    @given(data=st.binary(max_size=3000), unit=st.sampled_from([1, 7, 1000]))
    def test_random_bytes(self, data: bytes, unit: int) -> None:
        """No bytes raise an error."""
        text, damage, _ = decoded(data, [unit] * (len(data) // unit))
        assert (text, damage) == decoded(data)[:2]
        assert not re.search("[\ud800-\udfff]", text)


class TestGaps:
    @pytest.mark.parametrize("size", [64, 65, 700, 200_001])
    def test_at_the_beginning(self, size: int) -> None:
        """Text begins after the NULs that a crash left; they are counted."""
        for cut in ([], [1] * 100, [4096] * 40):
            assert decoded(bytes(size) + b"first\nnext\n", cut) == ("first\nnext\n", Damage(0, size, 1), "")

    def test_within_a_line_and_between_lines(self) -> None:
        """Within a line, one sign shows where the gap is."""
        data = b"half" + bytes(500) + b"boot\n" + bytes(1000) + b"next\n"
        assert decoded(data) == ("half␀boot\nnext\n", Damage(0, 1500, 2), "")

    def test_another_encoding_after_it(self) -> None:
        text = log()
        data = MARKS["utf-16-le"] + text.encode("utf-16-le") + bytes(777) + text.encode()
        assert decoded(data) == (text + text, Damage(0, 777, 1), "utf-16-le, utf-8")

    def test_nothing_but_nuls(self) -> None:
        assert decoded(bytes(5000)) == ("", Damage(0, 5000, 1), "")

    def test_few_nuls_stay_visible(self) -> None:
        assert decoded(b"a" + bytes(5) + b"b\n") == ("a" + 5 * "␀" + "b\n", Damage(0, 5, 1), "")

    def test_a_nul_at_the_end_of_each_line(self) -> None:
        """Programs in C print such."""
        data = log().replace("\n", "\0\n").encode()
        assert decoded(data) == (data.decode().replace("\0", "␀"), Damage(0, 60, 60), "")


class TestHeldBack:
    def test_lines_come_as_soon_as_they_are_whole(self) -> None:
        decoder = Decoder()
        assert decoder.feed(b"a\nb\nc") == "a\nb\n"
        assert decoder.feed(b"d\n") == "cd\n"
        assert decoder.feed("é\n".encode()) == "é\n"

    def test_bytes_are_counted_as_they_come(self) -> None:
        decoder = Decoder()
        decoder.feed(b"abc")
        assert decoder.bytes_consumed == 3

    def test_an_endless_line_is_passed_on(self) -> None:
        """No more than one part is held."""
        decoder = Decoder()
        shown = sum(len(decoder.feed(b"z" * 10_000)) for _ in range(100))
        assert 1_000_000 - shown < PART_BYTES + 10_000
        assert shown + len(decoder.finish()) == 1_000_000


class TestRawLines:
    @pytest.mark.parametrize("encoding", ["utf-8", *WIDE])
    def test_patterns_see_the_text(self, encoding: str) -> None:
        """Raw lines join to the data, and their text is that of the lines."""
        text = "one\r\ntwo\n\nthe end of it\n"
        lines = raw_lines(text.encode(encoding))
        assert b"".join(lines) == text.encode(encoding)
        shown = [line_text(line) for line in lines]
        assert "the end of it" in shown

    def test_encoding_that_is_set(self) -> None:
        assert line_text("测试结束\n".encode("gbk"), "gbk") == "测试结束"

    @pytest.mark.parametrize("encoding", ["utf-8", *WIDE])
    def test_missing_line_end(self, encoding: str) -> None:
        text = "last words"
        assert missing_line_end(text.encode(encoding)) == "\n".encode(encoding)
        assert missing_line_end(f"{text}\n".encode(encoding)) == b""
        assert missing_line_end(b"") == b""
