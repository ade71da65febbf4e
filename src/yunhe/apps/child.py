"""What runs inside the walls: puts them up, then runs one program over its inputs.

In: one JSON line on stdin. Out: JSON on the one descriptor that it is left, exit code 0; else one
of `NO_WALLS`, `NO_MEMORY`, or any other. No folder is writable. It imports the
standard library only and is started by its path with `-I -S`: the house stays outside.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

NO_WALLS, NO_MEMORY = 90, 92


def _walls(said: dict[str, Any]) -> None:
    spec = importlib.util.spec_from_file_location("walls", said["sandbox"])
    if spec is None or spec.loader is None:
        os._exit(NO_WALLS)
    walls = importlib.util.module_from_spec(spec)
    sys.modules["walls"] = walls
    spec.loader.exec_module(walls)
    mounts = walls.Mounts(tuple(map(Path, said["read"])))
    limits = walls.Limits(**said["limits"])
    os.environ.update(walls.environment())
    stands = walls.confine(mounts, limits, keep=(said["out"],), parent=said["parent"])
    if not stands.whole:
        os._exit(NO_WALLS)


def _tables(said: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    tables = {}
    for name, path in said["inputs"].items():
        with pa.memory_map(path) as file:
            tables[name] = pa.ipc.open_stream(file).read_all()
    return tables


def _python(said: dict[str, Any]) -> Any:
    code = Path(said["code"]).read_text(encoding="utf-8")
    found: dict[str, Any] = {"__name__": "application"}
    exec(compile(code, "application", "exec"), found)  # noqa: S102  that is what the walls are for
    return found["run"](_tables(said), said["parameters"])


def _onnx(said: dict[str, Any]) -> Any:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = Path(said["code"]).read_bytes()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (table,) = _tables(said).values()
    wanted = session.get_inputs()
    kinds = {"tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
    if len(wanted) == 1 and len(table.schema.names) > 1:
        columns = [table[name].to_numpy().astype(np.float32) for name in said["columns"]]
        feeds = {wanted[0].name: np.stack(columns, axis=1)}
    else:
        feeds = {}
        for each in wanted:
            kind = kinds.get(each.type, np.float32)
            feeds[each.name] = table[each.name].to_numpy().astype(kind).reshape(-1, 1)
    found = session.run(None, feeds)
    names = [each.name for each in session.get_outputs()]
    made: dict[str, Any] = {}
    for name, values in zip(names, found, strict=True):
        flat = np.asarray(values).reshape(table.num_rows, -1)
        for at in range(flat.shape[1]):
            made[name if flat.shape[1] == 1 else f"{name}_{at}"] = flat[:, at].tolist()
    return {name: made[name] for name in said["outputs"]} if said["outputs"] else made


def _plain(value: Any) -> Any:
    """A value of JSON; what is none becomes null or text."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def _result(made: Any) -> dict[str, Any]:
    if hasattr(made, "to_pydict"):
        made = made.to_pydict()
    if not isinstance(made, dict):
        raise TypeError("an application returns a table, a dict of columns or a dict of numbers")
    if made and all(isinstance(values, (list, tuple)) for values in made.values()):
        return {"columns": {str(k): [_plain(v) for v in values] for k, values in made.items()}}
    return {"numbers": {str(k): _plain(v) for k, v in made.items()}}


def main() -> None:
    """Read what to do, close the walls, do it."""
    said = json.loads(sys.stdin.readline())
    _walls(said)
    sys.path.append(said["lib"])
    os.chdir("/")
    try:
        made = _onnx(said) if said["kind"] == "onnx" else _python(said)
        text = json.dumps(_result(made), ensure_ascii=False, allow_nan=False)
        with open(said["out"], "w", encoding="utf-8") as out:
            out.write(text)
    except ImportError as missing:
        sys.stderr.write(f"{missing}\n")
        os._exit(1)
    except MemoryError:
        os._exit(NO_MEMORY)


if __name__ == "__main__":
    main()
