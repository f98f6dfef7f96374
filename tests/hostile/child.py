"""Runs command lines and readers in a process that has imported what they need, so that a case costs milliseconds.

One that dies of a signal or does not come back ends that process, and the next case has a new one.
"""

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
    "valueattr.cli.questions",
    "valueattr.hedging.audit",
    "valueattr.hedging.dumps",
    "valueattr.probing",
    "valueattr.report",
)
HEAVY = (
    *("pyarrow.dataset", "pyarrow.pandas_compat", "tests.hostile.readers"),
    *("valueattr.measures.statements", "valueattr.model", "valueattr.experiments"),
    *("valueattr.diagnosis", "valueattr.measures.knowledge", "valueattr.report"),
    "transformers.models.llama.modeling_llama",
)


@dataclass(frozen=True)
class Done:
    """How a case ended: its exit code, or minus the signal that ended it, and what it printed."""

    code: int
    stdout: str
    stderr: str


class Server:
    """Runs cases one after the other in one process, and in a new one where a case ended that."""

    def __init__(self, modules):
        self._command = [sys.executable, "-m", "tests.hostile.child", *modules]
        self._process = None

    def run(self, words, folder, printed):
        """What words do in a folder. What they print goes to files in the folder `printed`."""
        if self._process is None:
            environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._process = subprocess.Popen(
                self._command, cwd=Path(__file__).parents[2], env=environment, **pipes
            )
        printed.mkdir(exist_ok=True)
        case = {"words": [str(word) for word in words], "folder": str(folder), "printed": str(printed)}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        code = int(answer) if answer else self.close()
        texts = [(printed / name).read_text("utf-8", "backslashreplace") for name in ("stdout", "stderr")]
        return Done(code, *texts)

    def close(self):
        """Ends the process, and gives the code that it ended with."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.stdin.close()
        return process.wait()


def _serve(modules):
    for module in ("valueattr.cli", *modules):
        importlib.import_module(module)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in requests:
        print(_case(**json.loads(line)), file=answers, flush=True)
    os._exit(0)  # to take down what was imported would take seconds


def _case(words, folder, printed):
    """The exit code. The limits end the process."""
    for number, name, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, "stdout", os.O_WRONLY),
        (2, "stderr", os.O_WRONLY),
    ):
        opened = os.open(os.path.join(printed, name), mode | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    signal.alarm(WAITING)
    signal.setitimer(signal.ITIMER_PROF, COMPUTING)
    try:
        _run(words)
        return 0
    except SystemExit as ended:
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return CRASHED
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.flush()
        sys.stderr.flush()


def _run(words):
    from tests.hostile.readers import BEGUN_DIAGNOSIS, READERS, begin_diagnosis
    from valueattr.cli import app

    if words[0] == BEGUN_DIAGNOSIS:
        begin_diagnosis(*words[1:])
    elif words[0] in READERS:
        READERS[words[0]](words[1])
    else:
        app(words, prog_name="valueattr")


if __name__ == "__main__":
    _serve(sys.argv[1:])
