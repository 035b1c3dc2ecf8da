"""Untrusted files are bounded at reading, and what they hold is shown as text alone."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.config.schema import DataSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data import cifar
from ffnet_search.errors import LINE, SweepError, printable, shortened, shown, without_passwords
from ffnet_search.files.bounded import read_json
from ffnet_search.formatting import code_span, csv_cell, markdown
from ffnet_search.run.check import check_sweep
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse, read_yaml

SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stages": [{"depth": 1, "width": 8, "token_kernel": 3}],
}
LAUGHS = "{x0: &x0 [a, a, a, a, a, a, a, a, a], " + ", ".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 10)
) + "}"  # fmt: skip
DIGITS = "1" * 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a: {LAUGHS}", "line 1: must hold at most 20,000 values, each alias"),
        ("a: &a [*a]", "line 1: the alias 'a' stands within what it names"),
        (f"a: {'[' * 1000}{']' * 1000}", "line 1: must have at most 40 levels"),
        ("".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(60)), "at most 40 levels .* each alias"),
        ("a: !!bool maybe", "line 1: 'maybe' cannot be read as bool"),
        ("a: 1\nb: !!int ''", "line 2: '' cannot be read as int"),
        ("a: {b: 'x'}\nc: [\"a\\0\"]", r"line 2: text must hold no NUL .*, but is 'a\\x00'; remove it"),
        ('"\\ud800": 1', r"line 1: text must hold no NUL and no half of a surrogate pair, but is '\\ud800'"),
        ("a: !!binary aGk=", "is not valid YAML: line 1, column 4: could not determine a constructor"),
        (f"a: {DIGITS}", "line 1: a whole number must be within .*, but is '111"),
        ("a: 9223372036854775808", "a whole number must be within"),
        (f"a: 0x{'f' * 40}", "a whole number must be within"),
        ("a: 1\nb: -1e300", r"line 2: a number must be within \+-1e\+39, but is '-1e300'"),
        ("a: 1e400", "line 1: a number must be within"),
        (f"a: '{'x' * 300_000}'", "must have at most 256 KiB"),
        ("\n".join(f"{{k{n}: 1}}" for n in range(3)), "is not valid YAML"),
    ],
)  # fmt: skip
def test_yaml_is_bounded_before_anything_is_made_of_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text)
    with pytest.raises(SweepError, match=message) as caught:
        read_yaml(path)
    assert len(str(caught.value)) < LINE + len(str(path))
    assert "\n" not in str(caught.value)


def test_yaml_within_the_bounds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    nested = "[" * 38 + "1" + "]" * 38
    path.write_text(f'a: &a {{b: 9223372036854775807}}\nc: [*a, *a]\nd: {{<<: *a, e: 2}}\nf: {nested}\ng: "\\udcff"')
    assert read_yaml(path)["d"] == {"b": 2**63 - 1, "e": 2}
    assert os.fsencode(read_yaml(path)["g"]) == b"\xff"  # a name of a file that is no UTF-8


@pytest.mark.parametrize("text", ['{"a": ' + "[" * 100_000, f'{{"a": {DIGITS}}}', "{", '{"a": [1.0, -1e300]}', "1e400",
                                  "[NaN]", '{"a": -Infinity}'])  # fmt: skip
def test_json_is_bounded(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"levels|number must be (within|finite)|Expecting|Unterminated"):
        read_json(path)


@pytest.mark.parametrize(
    "section",
    [
        {"search": {name: 1e30}} for name in ("minutes", "trial_minutes", "wait_minutes")
    ] + [{"train": {name: 1e30}} for name in ("minutes", "checkpoint_minutes")] + [
        {"search": {"resources": {"cpu": 1e30}}},
        {"latency": {"backend": "command", "init_args": {"command": "true", "device": "x", "timeout": 1e30}}},
    ],
)  # fmt: skip
def test_limits_of_time_and_resources_are_such_as_a_system_can_hold(tmp_path: Path, section: dict[str, Any]) -> None:
    """Beyond them a timer or Ray broke with a traceback, in the middle of a run."""
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "data": {"name": "digits"}, **section}))
    with pytest.raises(SweepError, match=r"must be <= .* got 1e\+30"):
        check_sweep(Sweep.from_yaml(path))


@pytest.mark.timeout(30)
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(SweepError, match="must be a regular file"):
            read_yaml(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_text_in_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("seed: é", encoding=encoding)
    with pytest.raises(SweepError, match=r"any.yaml: is not valid YAML: .*; save it as text in UTF-8$"):
        read_yaml(path)


def test_a_wrong_value_is_shown_in_part() -> None:
    many: list[Any] = ["a"]
    for _ in range(40):
        many = [many] * 9  # 9 ** 40 leaves
    assert shown(many) == "[" * 77 + "..." or shown(many).startswith("[[[[[[[")
    assert len(shown(many)) == len(shown("a" * 10**6)) == 80
    assert len(shown(10**5000)) <= 80
    for value in ({"a": [1, 2.5, True]}, (1,), (1, 2), set(), "a'b", b"c", [True], {}):
        assert shown(value) == (repr(value) if value != set() else "{}")
    assert (shown(None), shown(["a", None])) == ("nothing", "['a', nothing]")


def test_an_error_is_one_bounded_line_without_passwords() -> None:
    error = SweepError("x.yaml: 'a\nb\x1b[31m' at postgresql://me:secret@host/name")
    assert str(error) == "x.yaml: 'a\\nb\\x1b[31m' at postgresql://***@host/name"
    assert shortened("begin" + "x" * 10**6 + "end").startswith("begin")
    assert shortened("begin" + "x" * 10**6 + "end").endswith("end")
    assert len(shortened("x" * 10**6)) <= LINE
    folder = "a" * 400  # the problem is told, however long the path
    assert shortened(f"{folder}: no such file; make it") == f"{'a' * 30}...{'a' * 29}: no such file; make it"
    many = f"x.yaml: {', '.join(f'masks/{number:03d}.png has the ids 7' for number in range(40))}"
    begin, end = shortened(many).split(" ... ")  # between words
    assert many.startswith(f"{begin} ") and many.endswith(f" {end}") and len(shortened(many)) <= LINE
    assert without_passwords("s3://bucket/a:b@c http://h:80/p") == "s3://bucket/a:b@c http://h:80/p"
    assert printable("a\u2028b\x9b") == "a\\u2028b\\x9b"
    assert printable("\u202egnp.exe \u2066\u200f") == "\\u202egnp.exe \\u2066\\u200f"  # read from the right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": [{"depth": [1_000_000_000], "width": 8}]}, r"stages.0.depth.0 must be <= 1000"),
        ({"stages": [{"depth": 600, "width": 8}] * 2}, "at most 16 stages and 1000 blocks, but has 2 and 1200"),
        ({"stages": [{"depth": 1, "width": 8}] * 17}, "at most 16 stages and 1000 blocks, but has 17"),
        ({"stages": [{"depth": 1, "width": 10**6}]}, "width.0 must be <= 65536"),
        ({"stages": [{"depth": 1, "width": 8, "expansion": 65}]}, "expansion must be at most 64"),
        ({"stages": [{"depth": 1, "width": 8, "token_kernel": 257}]}, "token_kernel must be at most 255"),
        ({"stages": [{"depth": 1, "width": list(range(1, 66))}]}, "width must have at most 64 items"),
        ({"input": {"channels": 1, "resolution": 10**5, "classes": 10}}, "resolution must be <= 16384"),
        ({"stages": [{"depth": list(range(1, 65)), "width": list(range(8, 72)), "expansion": list(range(1, 65))}]},
         "at most 50,000 combinations .* but offer 262,144"),
        ({"stages": [{"depth": 1000, "width": 8, "expansion": [1, 2, 3]}], "per_block": ["expansion"]},
         "fewer than 1e300"),
        ({"hyperparameters": {f"h{n}": [1, 2] for n in range(101)}}, "at most 100 hyper-parameters"),
        ({"hyperparameters": {"epochs": {"low": 0.0, "high": 1.0, "step": 1e-300}}}, "step must be at least"),
    ],
)  # fmt: skip
def test_a_space_is_bounded_before_anything_is_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        parse(SearchSpace, {**SPACE, **change}, "space.yaml")


def test_conditions_are_bounded() -> None:
    """Counting the combinations visits each."""
    choices = {f"h{n}": {"choices": list(range(9)), "when": {f"h{n - 1}": [0]} if n else {}} for n in range(8)}
    with pytest.raises(ValueError, match="at most 5,000 combinations"):
        SearchSpace.model_validate({**SPACE, "hyperparameters": choices})


@pytest.mark.parametrize("value", [8.5, True, "8", None, [8], 10**9, -1])
def test_an_architecture_from_a_file_has_sizes_that_are_whole_and_bounded(value: Any) -> None:
    content = Architecture.preset("ffnet_1", Input(1, 8, 10)).to_dict()
    for place in (content["stem"], content["stages"][0], content["stages"][0]["blocks"][0], content["input"]):
        name = next(name for name in ("width", "expansion", "resolution") if name in place)
        before, place[name] = place[name], value
        with pytest.raises((ValueError, TypeError)):
            Architecture.from_dict(content)
        place[name] = before


def test_an_archive_has_no_links_and_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    place = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    section = DataSection(name="cifar10", path=place)
    with pytest.raises(SweepError, match="lacks .*test_batch"):
        cifar.Cifar10().read(section, Input(3, 32, 10))
    monkeypatch.setattr(cifar, "UNPACKED", 1000)
    with tarfile.open(place, "w:gz") as archive:
        large = tarfile.TarInfo("large")
        large.size = 1001
        archive.addfile(large, io.BytesIO(bytes(1001)))
    with pytest.raises(SweepError, match="unpacks to more than"):
        cifar.Cifar10().read(section, Input(3, 32, 10))


def test_names_are_no_formulas_and_no_markup() -> None:
    assert [csv_cell(text) for text in ("=1+1", "+1", "-1", "@a", "\t=1", "a", -1, 2.5)] == [
        "'=1+1", "'+1", "'-1", "'@a", "'\t=1", "a", -1, 2.5,
    ]  # fmt: skip
    assert markdown("[a](javascript:b) <b>|`") == "\\[a\\](javascript:b) \\<b\\>\\|\\`"
    assert markdown("image_folder\n# x") == "image_folder # x"
    assert markdown("https://x.y") == "https\\://x.y"
    assert code_span("a`b\nc") == "`a'b c`"


@pytest.mark.parametrize("section", ["train", "search", "data", "seed", "name", "runs", "task", "search_space"])
def test_an_empty_value_is_called_nothing(tmp_path: Path, section: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE} | {section: None}))
    with pytest.raises(SweepError) as raised:
        Sweep.from_yaml(path)
    assert "but got nothing" in str(raised.value) and "None" not in str(raised.value)


def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(f"search_space: {'A' * 400}\ndata: {{name: digits}}\n")
    with pytest.raises(SweepError, match="A: cannot be read: .*File name too long"):
        Sweep.from_yaml(path)
    path.write_text(yaml.safe_dump({"search_space": SPACE, "latency": {"name": "A" * 400}}))
    with pytest.raises(SweepError, match="latency.name must have at most 100 characters"):
        Sweep.from_yaml(path)
