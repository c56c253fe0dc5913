"""Thousands of broken datasets: each gives episodes, or a ValueError that names the file. A number decides all."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.replay import read_env_args
from drift_wm.datasets.robomimic import RobomimicFile

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

FORMATS = ("robomimic", "minari", "lerobot2", "lerobot3")
Files = dict[str, bytes]
"""Contents by path."""


def sound(kind: str) -> Files:
    """Two episodes of 5 and 4 steps."""
    return {"robomimic": _robomimic, "minari": _minari, "lerobot2": _lerobot2, "lerobot3": _lerobot3}[kind]()


def broken(kind: str, number: int, base: Files) -> tuple[Files, str]:
    """A copy with one to three things wrong, and what they are."""
    rng, files, told = np.random.default_rng([FORMATS.index(kind), number]), dict(base), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = str(rng.choice(sorted(files)))
        break_it = _by_content(name) if rng.random() < 0.6 else _break_bytes
        files[name], what = break_it(files[name], rng)
        told.append(f"{name}: {what}")
    return files, "; ".join(told)


def write(files: Files, root: Path) -> Path:
    """Into a new folder; returns what to open."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root / "demos.hdf5" if "demos.hdf5" in files else root


def outcome(path: Path) -> str:
    """Read everything that a command would: "read", or the words of the ValueError.

    Raises:
        Exception: whatever else the readers let through.
    """
    try:
        demonstrations = open_demonstrations(path, skip_missing=False)
        found = demonstrations.describe()
        for mask in (None, *found.masks):
            for episode in demonstrations.episodes(mask=mask, allow_missing_rewards=True):
                assert len(episode) > 0
        if isinstance(demonstrations, RobomimicFile):
            read_env_args(path)
    except ValueError as error:
        return str(error)
    return "read"


def _hdf5(fill) -> Files:
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        fill(file)
    return image.getvalue()


def _robomimic() -> Files:
    def fill(file):
        data, rng = file.create_group("data"), np.random.default_rng(0)
        data.attrs.update(total=9, env_args=json.dumps({"env_name": "toy", "env_kwargs": {}}), decision_seconds=0.05)
        for i, length in enumerate((5, 4)):
            demo = data.create_group(f"demo_{i}")
            demo.attrs.update(num_samples=length, seed=i, terminated=bool(i), source="test")
            a, b = rng.normal(size=(length + 1, 3)).astype(np.float32), rng.normal(size=length + 1)
            for group, rows in (("obs", slice(None, -1)), ("next_obs", slice(1, None))):
                demo[f"{group}/a"] = a[rows]
                demo.create_dataset(f"{group}/b", data=b[rows], compression="gzip")
                demo[f"{group}/image"] = np.zeros((length, 2, 2, 3), np.uint8)
            demo["actions"] = rng.uniform(-1, 1, size=(length, 2))
            demo["rewards"] = rng.normal(size=length)
            demo["dones"] = np.zeros(length, np.int64)
            demo["states"] = rng.normal(size=(length, 4))
            demo["final_state"] = rng.normal(size=4)
        file["mask/train"] = np.array([b"demo_0"])
        file["mask/valid"] = ["demo_1"]

    return {"demos.hdf5": _hdf5(fill)}


def _minari() -> Files:
    def fill(file):
        rng = np.random.default_rng(0)
        for i, length in enumerate((5, 4)):
            group = file.create_group(f"episode_{i}")
            group.attrs.update(seed=7 if i else "None", id=i, total_steps=length)
            group["observations/goal"] = rng.normal(size=(length + 1, 1))
            group.create_dataset("observations/robot/joints", data=rng.normal(size=(length + 1, 2)), compression="gzip")
            group["observations/image"] = np.zeros((length + 1, 2, 2, 3), np.uint8)
            group["actions"] = rng.normal(size=(length, 2)).astype(np.float32)
            group["rewards"] = rng.normal(size=length)
            group["terminations"] = np.zeros(length, bool)

    space = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-2.0, -2.0], "high": [2.0, 2.0]}
    stated = {"action_space": json.dumps(space), "env_spec": json.dumps({"id": "Pusher-v5"})}
    return {"data/main_data.hdf5": _hdf5(fill), "data/metadata.json": json.dumps(stated).encode()}


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [2]},
    "observation.gripper": {"dtype": "int64", "shape": [1]},
    "action": {"dtype": "float32", "shape": [3]},
    "next.reward": {"dtype": "float32", "shape": [1]},
    "episode_index": {"dtype": "int64", "shape": [1]},
}


def _rows(index: int, length: int):
    rng = np.random.default_rng(index)
    return pyarrow.table(
        {
            "observation.state": pyarrow.array(rng.normal(size=(length, 2)).tolist()),
            "observation.gripper": pyarrow.array([index] * length),
            "action": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rng.normal(size=3 * length)), 3),
            "next.reward": pyarrow.array(rng.normal(size=length)),
            "episode_index": pyarrow.array([index] * length),
        }
    )


def _parquet(table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _info(**changed) -> bytes:
    return json.dumps(
        {"codebase_version": "v2.1", "fps": 25, "chunks_size": 2, "features": FEATURES, **changed}
    ).encode()


def _lerobot2() -> Files:
    name = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    lines = [json.dumps({"episode_index": i, "length": n}) for i, n in enumerate((5, 4))]
    files = {"meta/info.json": _info(data_path=name), "meta/episodes.jsonl": "\n".join(lines).encode()}
    return files | {name.format(episode_chunk=0, episode_index=i): _parquet(_rows(i, 5 - i)) for i in range(2)}


def _lerobot3() -> Files:
    name = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    episodes = {"episode_index": [0, 1], "length": [5, 4], "data/chunk_index": [0, 0], "data/file_index": [0, 0]}
    return {
        "meta/info.json": _info(codebase_version="v3.0", data_path=name),
        "meta/episodes/chunk-000/file-000.parquet": _parquet(pyarrow.table(episodes)),
        name.format(chunk_index=0, file_index=0): _parquet(pyarrow.concat_tables([_rows(0, 5), _rows(1, 4)])),
    }


def _by_content(name: str):
    if name.endswith(".hdf5"):
        return _break_hdf5
    return _break_parquet if name.endswith(".parquet") else _break_json


def _break_bytes(content: bytes, rng) -> tuple[bytes, str]:
    found, size = bytearray(content), len(content)
    how, start = rng.choice(["flip", "zero", "cut", "copy", "insert"]), int(rng.integers(size + 1))
    if how == "flip":
        for place in rng.integers(size, size=rng.integers(1, 9)) if size else ():
            found[place] = int(rng.integers(256))
    elif how == "zero":
        end = min(size, start + int(rng.integers(1, 65)))
        found[start:end] = bytes(end - start)
    elif how == "cut":
        del found[start:]
    elif how == "copy":
        source, length = int(rng.integers(size + 1)), int(rng.integers(1, 129))
        piece = found[source : source + length]
        found[start : start + len(piece)] = piece
    else:
        found[start:start] = rng.bytes(int(rng.integers(1, 17)))
    return bytes(found), f"{how} at {start} of {size}"


STRANGE = (
    None,
    True,
    -1,
    0,
    1,
    3,
    2**40,
    2**70,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\u0000",
    [],
    [1, "a"],
    {},
    {"a": 1},
)


def _break_json(content: bytes, rng) -> tuple[bytes, str]:
    lines = content.decode(errors="replace").splitlines() or [""]
    which = int(rng.integers(len(lines)))
    try:
        parsed = json.loads(lines[which])
    except (ValueError, RecursionError):
        parsed = {}
    how = rng.choice(["value", "drop", "nested value", "whole", "text"])
    strange = STRANGE[rng.integers(len(STRANGE))]
    if how in ("value", "drop", "nested value") and isinstance(parsed, dict) and parsed:
        inner, key = parsed, str(rng.choice(sorted(parsed)))
        while how == "nested value" and isinstance(inner[key], dict) and inner[key]:
            inner = inner[key]
            key = str(rng.choice(sorted(inner)))
        if how == "drop":
            del inner[key]
        else:
            inner[key] = strange
        lines[which], how = json.dumps(parsed), f"{how} {key} {strange!r}"
    elif how == "whole":
        lines[which] = json.dumps(strange)
    else:
        odd = ["{", "[" * 100_000, "nul", "9" * 5000, '{"a": 1} x', "\ufffd"]
        lines[which] = odd[rng.integers(len(odd))]
    return "\n".join(lines).encode(), str(how)


def _break_parquet(content: bytes, rng) -> tuple[bytes, str]:
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError):
        return _break_bytes(content, rng)
    if not table.num_columns:
        return _break_bytes(content, rng)
    place, rows = int(rng.integers(table.num_columns)), table.num_rows
    name = table.column_names[place]
    strange = {
        "text": pyarrow.array(["x"] * rows),
        "nulls": pyarrow.nulls(rows),
        "gaps": pyarrow.array([None if i % 2 else 1.0 for i in range(rows)]),
        "NaN": pyarrow.array([float("nan")] * rows),
        "huge": pyarrow.array([1e300] * rows),
        "huge integers": pyarrow.array([2**62] * rows),
        "negative": pyarrow.array([-1] * rows),
        "lists of several lengths": pyarrow.array(
            [[0.0] * (i % 3) for i in range(rows)], pyarrow.list_(pyarrow.float64())
        ),
        "lists with gaps": pyarrow.array(
            [None if i % 2 else [1.0, 2.0] for i in range(rows)], pyarrow.list_(pyarrow.float64())
        ),
        "lists of lists": pyarrow.array(
            [[[0.0, 1.0], [2.0, 3.0]]] * rows, pyarrow.list_(pyarrow.list_(pyarrow.float64()))
        ),
        "records": pyarrow.array([{"a": 1.0}] * rows, pyarrow.struct({"a": pyarrow.float64()})),
        "times": pyarrow.array(np.zeros(rows, "datetime64[us]")),
        "truth": pyarrow.array([True] * rows),
        "categories": pyarrow.array(["a"] * rows).dictionary_encode(),
    }
    how = str(rng.choice([*strange, "drop", "rename", "no rows", "twice"]))
    if how in strange:
        table = table.set_column(place, name, strange[how])
    elif how == "drop":
        table = table.remove_column(place)
    elif how == "rename":
        table = table.rename_columns([f"{each}x" if each == name else each for each in table.column_names])
    elif how == "no rows":
        table = table.slice(0, 0)
    else:
        table = table.append_column(name, table[name])
    return _parquet(table), f"{how} {name}"


def _break_hdf5(content: bytes, rng) -> tuple[bytes, str]:
    image = io.BytesIO(content)
    try:
        with h5py.File(image, "r+") as file:
            told = _break_objects(file, rng)
    except Exception:  # what is broken already may not open, or not close
        return _break_bytes(content, rng)
    return image.getvalue(), told


def _break_objects(file: h5py.File, rng) -> str:
    names: list[str] = []
    file.visit(names.append)
    name = str(rng.choice(sorted(names)))
    item = file[name]
    how = str(rng.choice(["remove", "replace", "attribute", "NaN", "link", "rename", "group"]))
    if how == "attribute":
        return _break_attribute(file, rng)
    if how == "NaN" and isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.size:
        item[...] = [np.nan, np.inf, 1e300, -0.0][rng.integers(4)]
        return f"NaN {name}"
    if how == "rename":
        words = ["demo_01", "demo_9999999999999999999999", "demo_x", "a", "x y"]
        new = f"{name.rsplit('/', 1)[0]}/{words[rng.integers(len(words))]}"
        if new not in file:
            file.move(name, new)
        return f"rename {name} {new}"
    rows = item.shape[0] if isinstance(item, h5py.Dataset) and item.shape else 3
    del file[name]
    if how == "replace":
        return f"replace {name} {_strange_array(file, name, rows, rng)}"
    if how == "link":
        target = [name, "/", "/nowhere", "/".join(name.split("/")[:-1]) or "/"][rng.integers(4)]
        outside = rng.random() < 0.3
        file[name] = h5py.ExternalLink("nowhere.hdf5", "/data") if outside else h5py.SoftLink(target)
        return f"link {name} {'outside' if outside else target}"
    if how == "group":
        file.create_group(f"{name}/inner")
    return f"{how} {name}"


def _strange_array(file: h5py.File, name: str, rows: int, rng) -> str:
    makers = {
        "fewer": lambda: file.create_dataset(name, data=np.zeros((max(rows - 1, 0), 2))),
        "none": lambda: file.create_dataset(name, data=np.zeros((0, 2))),
        "wider": lambda: file.create_dataset(name, data=np.ones((rows, 7))),
        "no columns": lambda: file.create_dataset(name, data=np.ones((rows, 0))),
        "deep": lambda: file.create_dataset(name, data=np.ones((rows, 2, 2))),
        "single": lambda: file.create_dataset(name, data=1.0),
        "empty": lambda: file.create_dataset(name, data=h5py.Empty("f")),
        "text": lambda: file.create_dataset(name, data=["x"] * rows),
        "bytes": lambda: file.create_dataset(name, data=np.array([b"\xff\xfe"] * rows)),
        "truth": lambda: file.create_dataset(name, data=np.ones(rows, bool)),
        "complex": lambda: file.create_dataset(name, data=np.ones((rows, 2), complex)),
        "records": lambda: file.create_dataset(name, data=np.zeros(rows, [("x", "f4"), ("y", "i8")])),
        "ragged": lambda: file.create_dataset(name, shape=(rows,), dtype=h5py.vlen_dtype(np.float32)),
        "references": lambda: file.create_dataset(name, data=np.array([file.ref] * rows, h5py.ref_dtype)),
        "opaque": lambda: file.create_dataset(name, data=np.zeros(rows, "V5")),
        "half": lambda: file.create_dataset(name, data=np.ones((rows, 2), np.float16)),
        "wide floats": lambda: file.create_dataset(name, data=np.ones((rows, 2), np.longdouble)),
        "big endian": lambda: file.create_dataset(name, data=np.ones((rows, 2), ">f8")),
        "never written": lambda: file.create_dataset(name, shape=(rows, 2**40), chunks=(1, 1024), dtype="f4"),
        "many rows": lambda: file.create_dataset(name, shape=(2**45,), chunks=(1024,), dtype="f8"),
        "type": lambda: file.__setitem__(name, np.dtype("f8")),
    }
    how = str(rng.choice(sorted(makers)))
    makers[how]()
    return how


def _break_attribute(file: h5py.File, rng) -> str:
    places = [(group, name) for group in _groups(file) for name in group.attrs]
    if not places:
        return "no attribute"
    group, name = places[rng.integers(len(places))]
    values = [
        "x",
        "",
        b"\xff",
        -1,
        2**62,
        1.5,
        np.nan,
        np.inf,
        [1, 2],
        ["a", "b"],
        [],
        h5py.Empty("f"),
        True,
        "{",
        "[]",
        "[" * 10_000,
    ]
    how = int(rng.integers(len(values) + 1))
    if how == len(values):
        del group.attrs[name]
        return f"attribute {group.name} {name} removed"
    group.attrs[name] = values[how]
    return f"attribute {group.name} {name} {values[how]!r:.30}"


def _groups(file: h5py.File) -> list[h5py.Group]:
    found: list[h5py.Group] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


def assert_told(numbers, folder: Path) -> set[str]:
    """Break and read datasets; returns "read" and "refused", whichever occurred."""
    bases, found = {kind: sound(kind) for kind in FORMATS}, set()
    for number in numbers:
        kind = FORMATS[number % len(FORMATS)]
        files, told = broken(kind, number, bases[kind])
        root = folder / str(number)
        try:
            words = outcome(write(files, root))
        except Exception as error:
            raise AssertionError(f"{kind} {number}: {told}") from error
        found.add("read" if words == "read" else "refused")
        assert words == "read" or str(root) in words, f"{kind} {number}: {told}: {words}"
        assert words == "read" or len(words.replace(str(root), "")) > 20, f"{kind} {number}: says nothing: {words}"
        shutil.rmtree(root)
    return found


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_broken_below_is_sound_at_first(kind, tmp_path):
    assert outcome(write(sound(kind), tmp_path)) == "read"


def test_broken_datasets_are_read_or_refused_with_their_name(tmp_path):
    assert assert_told(range(200), tmp_path) == {"read", "refused"}


def test_six_hundred_more_broken_datasets(tmp_path):
    assert assert_told(range(10_000, 10_600), tmp_path) == {"read", "refused"}
