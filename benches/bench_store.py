"""The activation store against plain files and its peers in one run: python benches/bench_store.py [GB] [FOLDER]

Wall time, best of three, one core. Reads touch every page. Cold reads need the right to drop the page cache (root);
without it they are left out, and it says so. `capture` runs a model of GPT-2 small's shape with and without capture.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import torch
import zarr
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from valueattr import _core
from valueattr.activations import ActivationStore, capture

WIDTH = 2048
SHARD_ROWS = 8192  # 64 MiB, what `capture` writes
BATCH = 4096
REPEATS = 3

Array = NDArray[np.float32]


def best(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    times = []
    for _ in range(REPEATS):
        before()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def may_drop_caches() -> bool:
    try:
        drop_caches()
    except OSError:
        return False
    return True


def sync(path: Path) -> None:
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def touch(values: Array) -> float:
    return float(values.reshape(-1)[::1024].sum())


def write_raw(path: Path, rows: Array, times: int = 1) -> None:
    with path.open("wb", buffering=0) as file:
        view = memoryview(rows).cast("B")
        for start in [*range(0, len(view), 8 << 20)] * times:
            file.write(view[start : start + (8 << 20)])


def write_store(path: Path, rows: Array, times: int = 1) -> None:
    writer = _core.StoreWriter(path, [0], WIDTH, "float32", True)
    for start in [*range(0, len(rows), SHARD_ROWS)] * times:
        part = rows[start : start + SHARD_ROWS]
        number = np.arange(start, start + len(part))
        writer.append("bench", len(part), number, number, [part.view(np.uint8).reshape(-1)])
    writer.finish()


def read_store(path: Path) -> None:
    for view in ActivationStore(path).views(0):
        touch(view)


def write_zarr(path: Path, rows: Array) -> None:
    array = zarr.create_array(
        store=path, shape=rows.shape, chunks=(4096, WIDTH), dtype="f4", compressors=None
    )
    array[:] = rows


def write_arrow(path: Path, rows: Array) -> None:
    table = pa.table({"a": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), WIDTH)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=4096)


def read_arrow(path: Path) -> None:
    for chunk in pa.ipc.open_file(pa.memory_map(str(path))).read_all()["a"].chunks:
        touch(chunk.values.to_numpy(zero_copy_only=True))


KINDS: dict[str, tuple[Callable[[Path, Array], object], Callable[[Path], object]]] = {
    "plain 8 MiB writes": (write_raw, lambda path: touch(np.fromfile(path, np.float32))),
    "valueattr store": (write_store, read_store),
    "np.save, mmap": (
        lambda path, rows: np.save(path.open("wb"), rows),
        lambda path: touch(np.load(path, "r")),
    ),
    "safetensors": (
        lambda path, rows: save_file({"a": rows}, path),
        lambda path: touch(load_file(path)["a"]),
    ),
    "Arrow IPC, mmap": (write_arrow, read_arrow),
    "zarr v3": (write_zarr, lambda path: touch(zarr.open_array(path, mode="r")[:])),
}


def files(folder: Path, rows: Array, cold: bool) -> None:
    size = rows.nbytes / 1e9
    print(f"{'GB/s':24}{'write+fsync':>12}{'cold read':>12}{'warm read':>12}")
    speeds: dict[str, tuple[float, float]] = {}
    for name, (write, read) in KINDS.items():
        path = folder / "file"

        def written(write: Callable[[Path, Array], object] = write, path: Path = path) -> None:
            write(path, rows)
            sync(path)

        def anew(path: Path = path) -> None:
            remove(path)
            os.sync()

        writing = size / best(written, anew)
        reading = size / best(lambda: read(path), drop_caches) if cold else float("nan")  # noqa: B023
        read(path)
        warm = size / best(lambda: read(path))  # noqa: B023
        speeds[name] = (writing, warm)
        print(f"{name:24}{writing:12.2f}{reading:12.2f}{warm:12.2f}", flush=True)
        remove(path)
    own, raw, peer = speeds["valueattr store"], speeds["plain 8 MiB writes"], speeds["safetensors"]
    print(f"write: {own[0] / raw[0]:.0%} of plain writes; warm read: {own[1] / peer[1]:.1f} x safetensors\n")


def shuffled(folder: Path, rows: Array, cold: bool) -> None:
    """Over four times as much: of a small file, a disk that reads megabytes ahead soon has all in memory."""
    raw, store_path = folder / "raw", folder / "store"
    write_raw(raw, rows, 4)
    write_store(store_path, rows, 4)
    count = 4 * len(rows)
    out = np.empty((BATCH, WIDTH), np.float32)
    permutation = np.random.default_rng(0).permutation(count)

    def speed(batches: Iterator[object]) -> float:
        """Over at most ten seconds: random rows of a cold file take minutes."""
        start, done = time.perf_counter(), 0
        for _ in batches:
            done += 1
            if time.perf_counter() - start > 10:
                break
        return done * out.nbytes / 1e9 / (time.perf_counter() - start)

    # Opened anew each time: what a process has mapped is not dropped from the cache.

    def taken(order: NDArray[np.int64]) -> Iterator[object]:
        mapped = np.memmap(raw, np.float32, "r", shape=(count, WIDTH))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield np.take(mapped, order[start : start + BATCH], axis=0, out=out)

    def own(shuffle: bool) -> Iterator[object]:
        store = ActivationStore(store_path)
        return store.batches(BATCH, order=store.order(BATCH, shuffle=shuffle))

    ways: dict[str, Callable[[], Iterator[object]]] = {
        "np.memmap, random rows": lambda: taken(permutation),
        "np.memmap, in order": lambda: taken(np.arange(count)),
        "valueattr, shuffled": lambda: own(shuffle=True),
        "valueattr, in order": lambda: own(shuffle=False),
    }
    print(f"{f'batches of {BATCH}, GB/s':24}{'cold':>12}{'warm':>12}")
    speeds: dict[str, tuple[float, float]] = {}
    for name, batches in ways.items():
        found = []
        for dropped in (True, False):
            if dropped and not cold:
                found.append(float("nan"))
                continue
            attempts = []
            for _ in range(REPEATS):
                if dropped:
                    drop_caches()
                attempts.append(speed(batches()))
            found.append(max(attempts))
        speeds[name] = (found[0], found[1])
        print(f"{name:24}{found[0]:12.2f}{found[1]:12.2f}", flush=True)
    shuffled_at, random = speeds["valueattr, shuffled"], speeds["np.memmap, random rows"]
    in_order = speeds["valueattr, in order"]
    print(
        f"shuffled: cold {shuffled_at[0] / random[0]:.1f} x random rows, {shuffled_at[0] / in_order[0]:.0%} of in order; "
        f"warm {shuffled_at[1] / random[1]:.1f} x np.memmap\n"
    )


class Tokens:
    """Texts of 128 tokens each, to time the model and not a tokenizer."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[(7 * i + len(text)) % 50_000 for i in range(128)] for text in texts]}


def capturing(folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).eval()
    texts = ["x" * (i + 1) for i in range(64)]

    def forward() -> None:
        ids = torch.tensor(Tokens()(texts)["input_ids"])
        with torch.no_grad():
            for start in range(0, len(texts), 16):
                batch = ids[start : start + 16]
                model(
                    input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False, logits_to_keep=1
                )

    forward()
    path = folder / "captured"
    seconds: dict[str, list[float]] = {"alone": [], "last": [], "all": []}
    for _ in range(REPEATS):  # in turns: the machine's speed drifts by more than what is measured
        for positions, times in seconds.items():
            remove(path)
            start = time.perf_counter()
            if positions == "alone":
                forward()
            else:
                capture(model, Tokens(), texts, positions=positions, batch_size=16, store=path)  # type: ignore[arg-type]
            times.append(time.perf_counter() - start)
    alone = min(seconds["alone"])
    print(f"64 texts of 128 tokens through GPT-2 small's shape: {alone:.2f} s; with capture of all layers")
    for positions in ("last", "all"):
        print(
            f"{positions:6} {min(seconds[positions]):.2f} s: {alone / min(seconds[positions]):.1%} of the speed without"
        )


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.1
    count = int(gigabytes * 1e9 / (4 * WIDTH)) // SHARD_ROWS * SHARD_ROWS
    rng = np.random.default_rng(0)
    rows = np.concatenate(
        [rng.standard_normal((SHARD_ROWS, WIDTH), np.float32) for _ in range(count // SHARD_ROWS)]
    )
    cold = may_drop_caches()
    if not cold:
        print("the page cache cannot be dropped: no cold reads\n")
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        files(folder, rows, cold)
        shuffled(folder, rows, cold)
        capturing(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
