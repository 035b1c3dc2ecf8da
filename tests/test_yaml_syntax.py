"""A text that is no YAML: one sentence with its line and what to do, in no words of the parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_content import TINY, load

from ffnet_search.errors import SweepError
from ffnet_search.strict_yaml import read_yaml

ALIKE = "indent them alike, with blanks$"
PAIR = "must be `key: value`, with a colon and a blank after it$"
QUOTED = "put it in quotes$"
OF_THE_PARSER = ("block", "flow", "scalar", "token", "scanning", "parsing", "stream", "<", "mapping values", "None")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:\n  name: digits\n    batch_size: 64\n", f"line 3 is not indented .* {ALIKE}"),
        ("data:\n    name: digits\n  batch_size: 64\n", f"line 3 is not indented .* {ALIKE}"),
        ("  seed: 0\ndata:\n  name: digits\n", f"line 2 is not indented .* {ALIKE}"),
        ("search:\n  objectives:\n    - accuracy\n   - latency_ms\n", f"line 4 is not indented .* {ALIKE}"),
        ("a:\n  - x\n  b: 2\n", f"line 3 is not indented .* or mixes keys with items of a list .* {ALIKE}"),
        ("data:\n  \tname: digits\n", "line 2, column 3: a tab is here, .* indent with blanks$"),
        ("data: {\n\tname: digits}\n", "line 2, column 1: a tab is here, .* indent with blanks$"),
        ('name: "digits\nseed: 0\n', "line 1, column 7: the text in quotes that begins here has no end; close"),
        ("seed: 0\nname: 'digits\n---\n", "line 2, column 7: the text in quotes that begins here has no end; close"),
        (
            'name: "digits\nruns: "x"\n',
            "line 2, column 8: text follows its closing quote; close the quotes",
        ),
        ("name: 'it's'\n", "line 1, column 11: text follows its closing quote; .* write a quote within the text"),
        ('data: {path: "C:\\Users\\me"}\n', "line 1, column 19: in double quotes a backslash .* in single quotes$"),
        (
            "objectives: [accuracy, latency_ms\nseed: 0\n",
            r"line 1, column 13: the \[ .* line 2, column 5; add it$",
        ),
        ("data: {name: digits\n", "line 1, column 7: the { here is not closed; add its }$"),
        ("data: {name: digits batch_size: 3}\n", "line 1, column 7: the { here must have commas between its values"),
        ("objectives: [accuracy]]\n", "line 1, column 23: ] is one too many"),
        ("a: [1,,2]\n", "line 1, column 7: a value is missing before ','; write it, or remove a comma$"),
        ("name: a: b\n", "line 1, column 8: a value with a colon and a blank in it must be in quotes; add them$"),
        ("# first\nseed:0\n\n# then\ndata:\n  name: digits\n", f"line 2 {PAIR}"),
        ("seed = 0\ndata:\n  name: digits\n", f"line 1 {PAIR}"),
        ("data:\n  name: digits\n  batch_size 3\n  workers: 2\n", f"line 3 {PAIR}"),
        ("data:\n  path: *.jpg\n", f"line 2, column 10: .* {QUOTED}"),
        ("data:\n  path: *photos\n", f"line 2, column 9: the alias 'photos' .* {QUOTED}"),
        ("data:\n  path: @home\n", f"line 2, column 9: a value must not begin with '@'; {QUOTED}"),
        ("data:\n  path: !x\n", f"line 2, column 9: .* the tag '!x'; remove it, or if it is text, {QUOTED}"),
        ("data:\n  validation: > 0.1\n", f"line 2, column 17: a value must not begin with . or > .*; {QUOTED}"),
        ("a: -\nb: 2\n", f"line 1, column 4: the items of a list must begin a new line; .* {QUOTED}"),
        ("a: &x 1\nb: &x 2\n", "line 2, column 4: the anchor 'x' is given twice; rename one$"),
        ("---\nseed: 0\n---\nseed: 1\n", "line 3, column 1: the file must hold one document, .* remove it$"),
        ("seed: 0\nname: a\x07b\n", r"line 2: the control character U\+0007 must not be here; remove it"),
    ],
)
def test_each_fault_has_its_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SweepError, match=f"tiny.yaml: is not valid YAML: {message}") as caught:
        load(tmp_path, text)
    sentence = str(caught.value).partition("YAML: ")[2].replace("or > and", "").replace("--- begins", "")
    assert not any(word in sentence.replace(" block:", "") for word in OF_THE_PARSER)
    assert "\n" not in sentence


@pytest.mark.parametrize("text", ["data:\n\u00a0\u00a0name: digits\n", "seed: 0\ndata:\n\ufeff  name: digits\n"])
def test_an_invisible_character_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(SweepError, match="line [23]: a key has an invisible character beside it .* type it again$"):
        load(tmp_path, text)


def test_bytes_that_are_no_text_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(b"seed: 0\nname: caf\xe9\n")
    with pytest.raises(SweepError, match="line 2: the byte 0xe9 is not in UTF-8; save it as text in UTF-8$"):
        read_yaml(path)


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    """With a byte order mark, and both characters at the end of a line."""
    path = tmp_path / "any.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 0\r\ndata:\r\n  name: digits\r\n")
    assert read_yaml(path) == {"seed": 0, "data": {"name": "digits"}}


def test_a_quoted_key_may_hold_any_character(tmp_path: Path) -> None:
    content = {**TINY, "train": {"class_weights": {"a\u00a0": 2.0}}}
    assert load(tmp_path, content).train.class_weights == {"a\u00a0": 2.0}
