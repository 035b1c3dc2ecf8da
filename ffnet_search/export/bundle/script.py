"""`predict.py` of an exported folder: the task's template with the preparation of images that training used, and the
command line that all tasks have."""

from __future__ import annotations

from importlib.resources import files

MARK = "# IMAGES"  # the line of a template that `data/image_file.py` takes the place of
COMMAND, COMMON = "# COMMAND", "predict_command.py.txt"  # the line that this file of the folder takes the place of
NEEDED = "import onnxruntime"  # the line that says what is missing, and the command that installs it
INSTALLED = """try:
    import numpy, onnxruntime, PIL
except ModuleNotFoundError as error:
    sys.exit(f"{sys.argv[0]}: {error.name} is not installed; run: pip install numpy pillow onnxruntime")"""
START = "from __future__ import annotations\n"  # its code begins after this line


def predict_script(template: str) -> str:
    """The text of `predict.py`, from the name of a template in this folder; it needs no more than its docstring says.

    The preparation is the text of the module that the data sets call, so that both always see the same pixels."""
    text = (files(__package__) / template).read_text(encoding="utf-8")
    _, start, code = (files("ffnet_search.data") / "image_file.py").read_text(encoding="utf-8").partition(START)
    assert start, f"data/image_file.py must hold the line {START.strip()}"
    common = (files(__package__) / COMMON).read_text(encoding="utf-8")
    parts = {MARK: code, COMMAND: common, NEEDED: INSTALLED}
    lines = []
    for line in text.split("\n"):
        part = next((part for mark, part in parts.items() if line.startswith(mark)), None)
        lines.append(line if part is None else part.strip() + "\n")
    return "\n".join(lines)
