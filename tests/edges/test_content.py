"""The digest of a run's content: what it depends on, and what not."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from stream_triage.files.content import ContentDigest

TEXTS = st.dictionaries(st.sampled_from(["", "du", "ue", "ue10", "ue9"]), st.binary(max_size=9000), max_size=4)


def digest_of(texts: dict[str, bytes]) -> ContentDigest:
    digest = ContentDigest()
    for source, text in texts.items():
        digest.update(source, text)
    return digest


@given(texts=TEXTS, data=st.data())
def test_cutting_and_interleaving_change_nothing(texts: dict[str, bytes], data: st.DataObject) -> None:
    """Only the bytes of each source count, neither how they were cut nor the order of the sources."""
    rest, digest = dict(texts), ContentDigest()
    while rest:
        source = data.draw(st.sampled_from(sorted(rest)))
        size = data.draw(st.integers(1, 5000))
        digest.update(source, rest[source][:size])
        rest[source] = rest[source][size:]
        if not rest[source]:
            del rest[source]
    assert digest.hexdigest() == digest_of(texts).hexdigest()
    assert digest.head() == digest_of(texts).head()


@given(one=TEXTS, other=TEXTS)
def test_other_text_has_another_digest(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Text that moved to another source is other content; a source without bytes is none, and NUL bytes are no text."""
    one, other = ({k: v.replace(b"\0", b"") for k, v in texts.items()} for texts in (one, other))
    same = {k: v for k, v in one.items() if v} == {k: v for k, v in other.items() if v}
    assert (digest_of(one).hexdigest() == digest_of(other).hexdigest()) == same


@given(texts=TEXTS)
def test_nul_bytes_do_not_count(texts: dict[str, bytes]) -> None:
    """Wherever they are, so that a log with a gap is the same run whether it was followed or not."""
    without = {source: text.replace(b"\0", b"") for source, text in texts.items()}
    assert digest_of(texts).hexdigest() == digest_of(without).hexdigest()


def test_a_file_has_the_digest_of_sha256sum() -> None:
    """Users can compare a file with a verdict; a run with named sources has the digest of the output of `sha256sum`."""
    assert digest_of({"": b"text\n"}).hexdigest() == sha256(b"text\n").hexdigest()
    assert digest_of({}).hexdigest() == digest_of({"du": b""}).hexdigest() == sha256(b"").hexdigest()
    lines = f"{sha256(b'd').hexdigest()}  du\n{sha256(b'u').hexdigest()}  ue\n"
    assert digest_of({"ue": b"u", "du": b"d"}).hexdigest() == sha256(lines.encode()).hexdigest()


def test_head_is_what_earlier_releases_used() -> None:
    """The first 4 KiB of the first source by name, numbers by value, that has text."""
    text = bytes(range(256)) * 40
    expected = sha256(text[:4096]).hexdigest()[:8]
    assert digest_of({"": text}).head() == expected
    assert digest_of({"ue10": b"x", "du": b"", "ue9": text}).head() == expected
    assert digest_of({}).head() == sha256(b"").hexdigest()[:8]
