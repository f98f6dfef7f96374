import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import valueattr

ROOT = Path(__file__).parents[1]


def python(code, executable=sys.executable, **options):
    return subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_importing_imports_no_torch():
    code = "import sys, valueattr, valueattr.cli, valueattr.experiments; sys.exit('torch' in sys.modules)"
    assert python(code).returncode == 0


def test_the_stubs_match_the_compiled_module():
    command = [sys.executable, "-m", "mypy.stubtest", "valueattr._core", "--ignore-missing-stub"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert valueattr.__version__ == version("valueattr")
    assert f"\nversion: {valueattr.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


WITHOUT_TORCH = """
import sys

class Without:
    # Not sys.modules["torch"] = None, at which scipy would look.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Without())
sys.argv = ["valueattr", "run", "e1", "--preset", "smoke", "--out", sys.argv[1]]
from valueattr.cli import app
app()
"""


def test_without_torch_the_error_says_what_to_install(tmp_path):
    code = WITHOUT_TORCH
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "r"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install 'valueattr[train]'" in result.stderr


@pytest.mark.slow
def test_the_wheel_works_without_rust_and_without_torch(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "maturin", "build", "--profile", "quick", "--out", tmp_path],
        check=True,
        cwd=ROOT,
    )
    (wheel,) = tmp_path.glob("valueattr-*-abi3-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    executable = tmp_path / "venv" / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean["PATH"] = "/usr/bin:/bin"
    subprocess.run([executable, "-m", "pip", "install", "--quiet", wheel], check=True, env=clean)
    code = "from valueattr.hedging import HedgeScanner; print(HedgeScanner().scan(['Perhaps.']).to_pylist()[0]['epistemic'])"
    assert python(code, executable, env=clean, cwd=tmp_path).stdout.strip() == "1"
    shown = subprocess.run(
        [tmp_path / "venv/bin/valueattr", "--help"], capture_output=True, text=True, check=True, env=clean
    )
    assert "Measure what RLHF does" in shown.stdout
    assert python("import torch", executable, env=clean).returncode != 0
