"""The settings tree: where values come from, what is rejected, what is hidden, and the starter file."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from stream_triage import Settings, SettingsError, load_settings
from stream_triage.example import example_settings
from stream_triage.settings.tree import SinkName

SECRET = "hunter2-hunter2"


@pytest.fixture
def file(tmp_path: Path):
    """Writes a settings file."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "my.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_flags_over_environment_over_file(file, monkeypatch):
    """Each level gives what the one above leaves out, field by field, within one section too."""
    path = file('bundle = "file"\n[input]\nline_bytes = 1000\nmax_expansion = 10\nrun_by = "folder"\n')
    monkeypatch.setenv("STREAM_TRIAGE_INPUT__MAX_EXPANSION", "20")
    monkeypatch.setenv("STREAM_TRIAGE_INPUT__LINE_BYTES", "2000")
    loaded = load_settings(path, input={"line_bytes": 3000})
    assert (loaded.bundle, loaded.input.run_by) == ("file", "folder")
    assert (loaded.input.line_bytes, loaded.input.max_expansion) == (3000, 20)
    assert loaded.input.expansion_floor_bytes == Settings().input.expansion_floor_bytes
    monkeypatch.setenv("STREAM_TRIAGE_BUNDLE", "environment")
    assert load_settings(path).bundle == "environment"
    assert load_settings(path, bundle="flag").bundle == "flag"


def test_file_can_be_named_in_the_environment(file, tmp_path, monkeypatch):
    """A file given outranks it."""
    monkeypatch.setenv("STREAM_TRIAGE_CONFIG", str(file('bundle = "a"\n')))
    assert load_settings().bundle == "a"
    other = file('bundle = "b"\n').rename(tmp_path / "other.toml")
    assert load_settings(other).bundle == "b"


def test_one_call_does_not_change_the_next(file):
    load_settings(file('bundle = "a"\n'))
    assert load_settings().bundle == "auto"


@pytest.mark.parametrize("where", ["file", "environment", "flag"])
def test_secret_is_masked_wherever_it_came_from(file, monkeypatch, where):
    """Neither repr nor JSON nor str of the settings shows it; the code that needs it gets it."""
    path, flags = None, {}
    if where == "file":
        path = file(f'[redaction]\npseudonym_key = "{SECRET}"\n')
    elif where == "environment":
        monkeypatch.setenv("STREAM_TRIAGE_REDACTION__PSEUDONYM_KEY", SECRET)
    else:
        flags = {"redaction": {"pseudonym_key": SECRET}}
    loaded = load_settings(path, **flags)
    assert loaded.redaction.pseudonym_key.get_secret_value() == SECRET
    for shown in (repr(loaded), str(loaded), loaded.model_dump_json(), repr(loaded.model_dump())):
        assert SECRET not in shown
    assert "**" in repr(loaded)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch):
    """Writes a folder of secret files and names it in the environment."""
    monkeypatch.setenv("STREAM_TRIAGE_SECRETS", str(tmp_path / "secrets"))

    def write(**files: str | bytes) -> Path:
        (tmp_path / "secrets").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "secrets" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "secrets"

    return write


def test_secret_files(file, secrets, monkeypatch):
    """A file named as its setting gives it, without the newline at its end: above the settings file, below variables."""
    secrets(opensearch__password=f"{SECRET}\n", redaction__pseudonym_key=f" {SECRET} ", opensearch__user="file\r\n")
    path = file('[opensearch]\nuser = "toml"\npassword = "other"\nindex_prefix = "kept"\n')
    loaded = load_settings(path)
    assert loaded.opensearch.password.get_secret_value() == SECRET
    assert loaded.redaction.pseudonym_key.get_secret_value() == f" {SECRET} "
    assert (loaded.opensearch.user, loaded.opensearch.index_prefix) == ("file", "kept")
    monkeypatch.setenv("STREAM_TRIAGE_OPENSEARCH__USER", "environment")
    assert load_settings(path).opensearch.user == "environment"


def test_secret_files_beside_others(secrets):
    """Folders and hidden files, as Kubernetes and editors leave them, are skipped."""
    folder = secrets(opensearch__password=SECRET)
    (folder / "..data").mkdir()
    (folder / ".opensearch__password.swp").write_bytes(b"\xff")
    assert load_settings().opensearch.password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("opensearch_password", SECRET, "opensearch_password must be named like a setting"),
        ("opensearch__pasword", SECRET, r"opensearch\.pasword: "),
        ("opensearch__password", b"\xff" + SECRET.encode(), "opensearch__password is not UTF-8"),
        ("kafka__session_seconds", SECRET, r"kafka\.session_seconds: .*number"),
        ("kafka__servers", SECRET, r"kafka.*; write it as JSON"),
    ],
)
def test_wrong_secret_file_is_named(secrets, name, text, reason):
    secrets(**{name: text})
    with pytest.raises(SettingsError, match=reason) as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_absent_folder_of_secrets_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_TRIAGE_SECRETS", str(tmp_path / "no"))
    with pytest.raises(SettingsError, match=r"no, named by STREAM_TRIAGE_SECRETS, cannot be read: No such file"):
        load_settings()


@pytest.mark.parametrize(
    "text",
    [
        f'[redaction]\npseudonym_key = ["{SECRET}"]\n',
        f'[redaction]\npseudonym_key = "{SECRET}"\nother = 1\n',
        f'[redaction]\npseudonym_keys = "{SECRET}"\n',
        f'redaction = "{SECRET}"\n',
        f'[redaction]\npatterns = [{{name = "X", pattern = "{SECRET}"}}]\n',
    ],
)
def test_errors_do_not_show_values(file, text):
    """The wrong setting is named, its value is not shown."""
    with pytest.raises(SettingsError, match="redaction") as error:
        load_settings(file(text))
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bundel = 1\n", "bundel: "),
        ("[input]\nline_bits = 1\n", "input.line_bits: "),
        ("[inputs]\n", "inputs: "),
        ("[input]\nline_bytes = 10\n", "input.line_bytes: .*256"),
        ('[input]\nrun_by = "dir"\n', "input.run_by: .*'file' or 'folder'"),
        ("[follow]\nidle_seconds = 0\n", "follow.idle_seconds: "),
        ('[[redaction.patterns]]\nname = "Bad Name"\npattern = "x"\n', "redaction.patterns.0.name: "),
        ("[store]\nmax_runs = 0\n", "store.max_runs: "),
        ('[metrics]\nlisten = "9464"\n', "metrics.listen: .*HOST:PORT"),
    ],
)
def test_wrong_setting_is_named(file, text, name):
    """Unknown keys and impossible values are rejected, with the path of the setting."""
    with pytest.raises(SettingsError, match=f"settings cannot be used: .*{name}"):
        load_settings(file(text))


@pytest.mark.parametrize("name", ["nix", "", "rot13", "hex", "utf-7", "idna", "unicode_escape", "a\0b"])
def test_what_is_no_text_encoding_is_rejected(name):
    """The message names encodings that can be used."""
    with pytest.raises(SettingsError, match=r"input\.encoding: .*not a text encoding.* use auto, or a name such as utf-8"):
        load_settings(input={"encoding": name})


@pytest.mark.parametrize(
    ("name", "known"), [("auto", "auto"), ("UTF8", "utf-8"), ("Shift-JIS", "shift_jis"), ("GBK", "gbk")]
)
def test_encoding_has_the_name_that_python_gives_it(name, known):
    assert load_settings(input={"encoding": name}).input.encoding == known


def test_every_wrong_setting_is_named_at_once(file):
    with pytest.raises(SettingsError, match=r"input\.line_bytes: .*; follow\.poll_seconds: |follow.*; input"):
        load_settings(file("[input]\nline_bytes = 1\n[follow]\npoll_seconds = -1\n"))


def test_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("STREAM_TRIAGE_INPUT__LINE_BYTES", "many")
    with pytest.raises(SettingsError, match=r"input\.line_bytes: .*integer"):
        load_settings()


def test_variable_that_is_no_json_is_named(monkeypatch):
    """Lists in variables are JSON; one that is not gives a clear line, and no value."""
    monkeypatch.setenv("STREAM_TRIAGE_BUNDLE_FOLDERS", SECRET)
    with pytest.raises(SettingsError, match=r"bundle_folders.*; write it as JSON") as error:
        load_settings()
    assert SECRET not in str(error.value)
    monkeypatch.setenv("STREAM_TRIAGE_BUNDLE_FOLDERS", '["/a", "/b"]')
    assert load_settings().bundle_folders == (Path("/a"), Path("/b"))


def test_absent_file_is_rejected(tmp_path):
    with pytest.raises(SettingsError, match=r"settings file .*no\.toml does not exist; leave out --config or create"):
        load_settings(tmp_path / "no.toml")


@pytest.mark.parametrize("content", [b"bundle =", b"bundle = '\xff'", b"[input\n"])
def test_file_that_is_no_toml_is_rejected(file, content):
    with pytest.raises(SettingsError, match=r"my\.toml is not valid TOML"):
        load_settings(file(content))


def test_file_that_cannot_be_read_is_rejected():
    """A file that is there but gives an error, for root as well."""
    with pytest.raises(SettingsError, match=r"settings file /proc/self/mem cannot be read: Input/output error"):
        load_settings(Path("/proc/self/mem"))


def test_home_is_expanded(file, monkeypatch):
    """In every path of the tree, from file and environment."""
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setenv("STREAM_TRIAGE_ARCHIVE__FOLDER", "~/texts")
    loaded = load_settings(file('rules = "~/r.toml"\nbundle_folders = ["~/m"]\n[store]\npath = "~/v.sqlite"\n'))
    assert loaded.rules == Path("/home/jane/r.toml")
    assert loaded.bundle_folders == (Path("/home/jane/m"),)
    assert loaded.store.path == Path("/home/jane/v.sqlite")
    assert loaded.archive.folder == Path("/home/jane/texts")


def test_data_folder_follows_xdg(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert load_settings().store.path == Path("/data/stream-triage/verdicts.sqlite")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/jane")
    assert load_settings().archive.folder == Path("/home/jane/.local/share/stream-triage/archive")


def test_settings_are_frozen():
    loaded = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        loaded.bundle = "other"
    with pytest.raises(ValueError, match="frozen"):
        loaded.input.line_bytes = 1


VALUE_LINE = re.compile(r"^# (\w+ =.*)$", re.MULTILINE)


@pytest.mark.parametrize(
    ("home", "data"),
    [
        ("/home/jane", None),
        ("/", None),
        ("/home/jane", "/srv/data of jane"),
        ("/home/jane", "/srv/home/jane/x"),
        ("/home/j", "/home/jane"),
        ("/home/é😀", None),
    ],
)
def test_example_gives_the_defaults(file, monkeypatch, home, data):
    """With every line uncommented that has a value, the starter file is valid and says what holds without it."""
    monkeypatch.setenv("HOME", home)
    if data:
        monkeypatch.setenv("XDG_DATA_HOME", data)
    else:
        monkeypatch.delenv("XDG_DATA_HOME")
    text = VALUE_LINE.sub(lambda match: match[1] if not match[1].endswith("=") else match[0], example_settings())
    given = tomllib.loads(text)
    assert load_settings(file(text)).model_dump() == load_settings().model_dump()
    assert given["input"] == Settings().input.model_dump(mode="json")
    assert given["bundle"] == "auto"


def test_example_as_it_is_changes_nothing(file):
    """Every line is a comment or a section."""
    assert load_settings(file(example_settings())).model_dump() == load_settings().model_dump()
    assert all(line == "" or line[0] in "#[" for line in example_settings().splitlines())


def test_example_names_every_setting(file):
    """Those without a value, too."""
    names = set(re.findall(r"^# (\w+) =", example_settings(), re.MULTILINE))
    expected = set()
    for name, field in Settings.model_fields.items():
        expected |= set(getattr(field.annotation, "model_fields", {name: None}))
    assert names == expected


def test_description_of_sinks_names_them_all():
    """The names that the description lists are those that are accepted."""
    description = Settings.model_fields["sinks"].description or ""
    assert re.findall(r"\w+", description.partition("any of ")[2]) == list(get_args(SinkName))
