"""Runs command lines and readers, each in a process of its own that is forked from one which has imported what they need.

So a case costs milliseconds, and one that dies of a signal or does not come back ends alone.
"""

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

# Who computes for so long hangs; so does who waits for so long, which is more on a machine that does much else.
COMPUTING, WAITING = 10, 120
# What is read without an end is an error before it takes the machine's memory.
MEMORY = 8 << 30

CRASHED = 70

LIGHT = (
    *("matplotlib.backends.backend_svg", "pyarrow.dataset", "pyarrow.pandas_compat"),
    *("rich.box", "rich.console", "rich.markup", "rich.table", "typer.rich_utils", "valueattr.cli.narrow"),
    "tests.hostile.readers",
    "valueattr.hedging.audit",
    "valueattr.hedging.dumps",
    "valueattr.probing",
    "valueattr.report",
)
HEAVY = (
    *LIGHT,
    *("valueattr.measures.statements", "valueattr.model", "valueattr.experiments"),
    "transformers.models.llama.modeling_llama",
)


@dataclass(frozen=True)
class Done:
    """How a case ended: its exit code, or minus the signal that ended it, and what it printed."""

    code: int
    stdout: str
    stderr: str


class Server:
    """Forks a process for each case, one at a time."""

    def __init__(self, modules):
        command = [sys.executable, "-m", "tests.hostile.child", *modules]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=environment,
        )

    def run(self, words, folder, printed):
        """What words do in a folder. What they print goes to files in the folder `printed`."""
        printed.mkdir(exist_ok=True)
        case = {"words": [str(word) for word in words], "folder": str(folder), "printed": str(printed)}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        texts = [(printed / name).read_text("utf-8", "backslashreplace") for name in ("stdout", "stderr")]
        return Done(code, *texts)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def _serve(modules):
    for module in ("valueattr.cli", *modules):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that children share what is there
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _case(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _case(words, folder, printed):
    """Does not return."""
    for number, name, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, "stdout", os.O_WRONLY),
        (2, "stderr", os.O_WRONLY),
    ):
        os.dup2(os.open(os.path.join(printed, name), mode | os.O_CREAT | os.O_TRUNC), number)
    signal.alarm(WAITING)
    resource.setrlimit(resource.RLIMIT_CPU, (COMPUTING, COMPUTING))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    code = CRASHED
    try:
        _run(words)
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(words):
    from tests.hostile.readers import READERS
    from valueattr.cli import app

    if words[0] in READERS:
        READERS[words[0]](words[1])
    else:
        app(words, prog_name="valueattr")


if __name__ == "__main__":
    _serve(sys.argv[1:])
