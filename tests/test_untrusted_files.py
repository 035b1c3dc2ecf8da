"""Untrusted files are bounded at reading, and nothing that they name is run or imported without consent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from forgotten import forgotten
from latency_spaces import TINY, model_of
from PIL import Image

from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.cluster.submit import check_cluster
from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.schema import DataSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data import cifar
from ffnet_search.data.image_file import open_image
from ffnet_search.data.image_folder import ImageFolder
from ffnet_search.data.mask_folder import read_ids
from ffnet_search.errors import LINE, SweepError, printable, shortened, shown, without_passwords
from ffnet_search.export.network import load
from ffnet_search.files.bounded import read_json
from ffnet_search.formatting import code_span, csv_cell, markdown
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.imports.modules import module_file
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.plugins import find_class
from ffnet_search.provenance import git_state
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
EVIL = "evil.nets:Class"  # importing `evil` leaves a mark


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a package whose import leaves the file MARK."""
    (tmp_path / "evil").mkdir()
    mark = f"import pathlib; pathlib.Path({str(tmp_path / 'MARK')!r}).touch()"
    (tmp_path / "evil" / "__init__.py").write_text(mark)
    (tmp_path / "evil" / "nets.py").write_text(mark)
    monkeypatch.chdir(tmp_path)
    with forgotten("evil"):
        yield tmp_path


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


@pytest.mark.parametrize("text", ['{"a": ' + "[" * 100_000, f'{{"a": {DIGITS}}}', "{"])
def test_json_is_bounded(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"levels|whole number|Expecting|Unterminated"):
        read_json(path)


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


def test_a_module_is_found_without_importing_its_package(folder: Path) -> None:
    assert module_file("evil.nets") == folder / "evil" / "nets.py"
    assert module_file("evil") == folder / "evil" / "__init__.py"
    assert module_file("evil.none") is module_file("none.nets") is module_file("..") is module_file("") is None
    assert user_code({"callbacks": [EVIL]}) == (folder / "evil",)
    assert not (folder / "MARK").exists()
    assert str(folder) not in sys.path  # or a stranger's file could stand in for a missing optional package


@pytest.mark.parametrize(
    "content",
    [
        {"train": {"callbacks": [EVIL]}},
        {"train": {"loggers": [{"class_path": "evil.nets.Class"}]}},
        {"data": {"name": EVIL}},
        {"data": {"name": "digits", "augment": {"transforms": [EVIL]}}},
        {"search": {"sampler": EVIL}},
        {"search": {"engine": EVIL, "early_stopping": {"rule": EVIL}, "evaluator": "train"}},
        {"latency": {"backend": EVIL}},
        {"task": EVIL},
        {"search_space": {**SPACE, "stages": [{"depth": 1, "width": 8, "mixer": EVIL}]}},
    ],
)
def test_a_check_imports_nothing_of_a_stranger(folder: Path, content: dict[str, Any]) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "allow_imports": True, **content}))
    with foreign_imports(ForeignImports.REFUSED):
        if "task" in content or "search_space" in content:  # whose class decides what the networks cost
            with pytest.raises(SweepError, match="nets.py, outside the installed packages"):
                Sweep.from_yaml(path)
        else:
            check_sweep(Sweep.from_yaml(path))
    with foreign_imports(ForeignImports.BY_CONSENT):
        path.write_text(path.read_text().replace("allow_imports: true", "allow_imports: false"))
        with pytest.raises(SweepError, match=r"would import code .*nets.py .*add `allow_imports: true`"):
            Sweep.from_yaml(path)
    assert not (folder / "MARK").exists()


def test_nobody_is_asked_for_code_of_this_program(folder: Path) -> None:
    """Also where it is imported from a checkout, which is in no folder of installed packages."""
    with foreign_imports(ForeignImports.REFUSED):
        assert find_class("ffnet_search.forecasting.series:Series", "data.name").__name__ == "Series"


def test_a_run_imports_what_the_sweep_allows(folder: Path) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "allow_imports": True, "task": EVIL}))
    with foreign_imports(ForeignImports.BY_CONSENT), pytest.raises(SweepError, match="Class does not exist"):
        Sweep.from_yaml(path)
    assert (folder / "MARK").exists()


@pytest.mark.parametrize("listed", [False, True])
def test_a_program_of_a_sweep_is_run_by_consent(folder: Path, listed: bool) -> None:
    """Asked for before anything runs, and refused by the backend itself where nobody was asked."""
    arguments = {"command": ["touch", str(folder / "MARK"), "{model}"], "device": "any"}
    device = {"name": "phone", "backend": "command", "init_args": arguments}
    path = folder / "sweep.yaml"
    content = {"search_space": SPACE, "latency": [device] if listed else device}
    path.write_text(yaml.safe_dump(content))
    with foreign_imports(ForeignImports.REFUSED):
        check_sweep(Sweep.from_yaml(path))
        backend = make_backend(Sweep.from_yaml(path).latency[0])
        with pytest.raises(SweepError, match=r"touch .* is not run unasked; .* `allow_imports: true`"):
            backend.load(model_of(TINY.smallest), 1)
    with foreign_imports(ForeignImports.BY_CONSENT):
        with pytest.raises(SweepError, match=r"would run the program \['touch', .*or give --allow-imports"):
            Sweep.from_yaml(path)
        path.write_text(yaml.safe_dump({**content, "allow_imports": True}))
        allowed = make_backend(Sweep.from_yaml(path).latency[0])
        with pytest.raises(SweepError, match="must print the milliseconds"):
            allowed.load(model_of(TINY.smallest), 1)()
    assert (folder / "MARK").exists()


def test_what_is_installed_is_imported_unasked(folder: Path) -> None:
    with foreign_imports(ForeignImports.REFUSED):
        assert find_class("lightning.pytorch.callbacks:Callback", "x").__name__ == "Callback"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit(0)", r"cannot be imported: SystemExit: 0 \(.*nets.py, line 1\)"),
        ("\n1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(.*nets.py, line 2\)"),
        ("import", "cannot be imported: SyntaxError"),
        ("import no_such_package", "needs no_such_package, which is not installed"),
        ("raise ImportError('a\\nb')", "cannot be imported: ImportError: a"),
    ],
)
def test_a_module_that_fails_is_one_sentence(folder: Path, code: str, message: str) -> None:
    (folder / "evil" / "nets.py").write_text(code)
    with pytest.raises(SweepError, match=message) as caught:
        find_class(EVIL, "train.callbacks.0.class_path")
    assert "\n" not in str(caught.value)


def test_an_exported_folder_of_a_stranger_imports_nothing(folder: Path) -> None:
    content = Architecture.preset("ffnet_1", Input(1, 8, 10)).to_dict()
    content["stages"][0]["blocks"][0]["mixer"] = EVIL
    (folder / "architecture.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SweepError, match="outside the installed packages"):
        load(folder)
    assert not (folder / "MARK").exists()


def git(*words: str, folder: Path) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["evil", "e\fvil", "e\u2028vil", b"e\xffvil"], ids=ascii)
def test_git_runs_nothing_that_a_repository_names(folder: Path, name: str | bytes) -> None:
    name = os.fsdecode(name)
    mark = f"touch {folder / 'MARK'}; cat"
    git("init", "-q", folder=folder)
    git("config", "user.email", "a@b", folder=folder)
    git("config", "user.name", "a", folder=folder)
    (folder / "file.txt").write_text("1")
    (folder / ".gitattributes").write_bytes(os.fsencode(f"*.txt filter={name}\n"))
    git("add", ".", folder=folder)
    git("commit", "-qm", "1", folder=folder)
    git("config", f"filter.{name}.clean", mark, folder=folder)
    git("config", f"filter.{name}.required", "true", folder=folder)
    git("config", "core.fsmonitor", f"{mark} #", folder=folder)
    hook = folder / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\n{mark}\n")
    hook.chmod(0o755)
    os.utime(folder / "file.txt", (1, 1))  # git has to read it again
    state = git_state()
    assert state is not None
    assert state["changed"] is False
    (folder / "file.txt").write_text("2")
    assert git_state() == {**state, "changed": True}
    assert not (folder / "MARK").exists()
    git("config", "filter.a=b.clean", mark, folder=folder)  # `git -c` cannot name it
    (folder / ".gitattributes").write_text("*.txt filter=a=b\n")
    assert git_state() is None
    assert not (folder / "MARK").exists()


CLUSTER = {
    "cluster_name": "c",
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]},
    "auth": {"ssh_user": "me"},
    "metadata": {"sweep": {"search_space": SPACE}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auth": {"ssh_user": "-oProxyCommand=touch MARK"}}, "auth.ssh_user must be the name of a user or a host"),
        (
            {"auth": {"ssh_user": "me", "ssh_private_key": "-F/x"}},
            r"where it begins with .-., write ./ before it",
        ),
        ({"provider": {"type": "local", "head_ip": "-oProxyCommand=x", "worker_ips": []}}, "provider.head_ip must be"),
        ({"provider": {"type": "local", "head_ip": "a", "worker_ips": ["a b"]}}, "provider.worker_ips.0 must be"),
        ({"provider": {"type": "external", "module": "evil.nets.Class"}}, "provider.type must be one of Ray's own"),
        ({"file_mounts": {"/a": "--rsh=touch MARK"}}, r"where it begins with .-., write ./ before it"),
    ],
)
def test_values_of_a_cluster_file_are_no_options(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({**CLUSTER, **change}))
    with pytest.raises(SweepError, match=message):
        check_cluster(path)
    assert not (folder / "MARK").exists()


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


def folder_of_images(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), (9 * number, 9, 9)).save(folder / name / f"{number}.png")
    return folder


def test_a_link_that_leads_nowhere_is_one_sentence(tmp_path: Path) -> None:
    section = DataSection(name="image_folder", path=folder_of_images(tmp_path))
    (tmp_path / "a" / "z.png").symlink_to("gone.png")
    for act in (ImageFolder().check, ImageFolder().read):
        with pytest.raises(SweepError, match=r"data.path: .*z.png is a link that leads nowhere"):
            act(section, Input(3, 8, 2))
    with pytest.raises(SweepError, match="z.png is a link that leads nowhere"):
        inspect(tmp_path)


@pytest.mark.timeout(60)
def test_a_pipe_that_is_named_like_an_image_is_one_sentence(tmp_path: Path) -> None:
    section = DataSection(name="image_folder", path=folder_of_images(tmp_path))
    os.mkfifo(tmp_path / "a" / "z.png")
    with pytest.raises(SweepError, match="z.png must be a file, but is a pipe"):
        ImageFolder().read(section, Input(3, 8, 2))


@pytest.mark.timeout(60)
def test_no_pipe_is_opened_as_an_image(tmp_path: Path) -> None:
    """Masks, photos and what `predict.py` is given are opened by this function too."""
    os.mkfifo(tmp_path / "z.png")
    for path in (tmp_path / "z.png", tmp_path):
        with pytest.raises(OSError, match="it is no file, but a folder, a pipe"):
            open_image(path)
    with pytest.raises(SweepError, match=r"z\.png cannot be read as an image \(it is no file"):
        read_ids(str(tmp_path / "z.png"))


def test_no_image_is_drawn_by_another_program(tmp_path: Path) -> None:
    """Pillow opens by content, and has Ghostscript run PostScript."""
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) show\n%%EOF\n")
    with pytest.raises(OSError, match="cannot identify image file"):
        open_image(path)
    with Image.open(path) as opened:
        assert opened.format == "EPS"
    Image.new("L", (4, 4)).save(tmp_path / "x.webp")
    with open_image(tmp_path / "x.webp") as opened:
        assert opened.size == (4, 4)


@pytest.mark.parametrize("arguments", [{}, {"device": "any"}, {"command": None}, {"command": []}], ids=str)
def test_consent_is_asked_only_for_a_program_that_is_named(folder: Path, arguments: dict[str, object]) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE, "latency": {"backend": "command", "init_args": arguments}}))
    with foreign_imports(ForeignImports.BY_CONSENT):
        sweep = Sweep.from_yaml(path)
        with pytest.raises(SweepError, match=r"latency\.init_args: command must ") as raised:
            check_sweep(sweep)
    assert "None" not in str(raised.value)


@pytest.mark.parametrize("section", ["train", "search", "data", "seed", "name", "runs", "task", "search_space"])
def test_an_empty_value_is_called_nothing(folder: Path, section: str) -> None:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"search_space": SPACE} | {section: None}))
    with pytest.raises(SweepError) as raised:
        Sweep.from_yaml(path)
    assert "but got nothing" in str(raised.value) and "None" not in str(raised.value)
