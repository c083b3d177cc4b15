"""The examples in the documentation, run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# What torch 2.13 says of its own code while it writes ONNX.
@pytest.mark.filterwarnings(r"ignore:.isinstance\(treespec, LeafSpec\):FutureWarning")
@pytest.mark.parametrize("page", ["inside", "layer", "export"])
def test_the_examples_of_a_page_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    exec(compile("\n".join(examples), page, "exec"), {"OUT": str(tmp_path)})
