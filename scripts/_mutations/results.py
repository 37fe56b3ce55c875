"""Results of mutations, kept by a hash of all that decides them."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from _mutations.mutation import Mutation, mutate

__all__ = ["ROOT", "Result", "Store", "key_of"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How a mutation ended.

    Parameters
    ----------
    outcome : ``killed``, ``survived`` or ``time limit`` (which counts as killed)
    by : the test that failed first
    seconds : of all stages
    """

    outcome: str
    by: str
    seconds: float


class Store:
    """Results by hash, in a file that is complete after every one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = Lock()
        self.known: dict[str, dict] = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, key: str) -> Result | None:
        return Result(**self.known[key]) if key in self.known else None

    def put(self, key: str, result: Result) -> None:
        with self.lock:
            if self.path.is_file():  # another run may go on beside this one
                self.known |= json.loads(self.path.read_text())
            self.known[key] = asdict(result)
            draft = self.path.with_suffix(".draft")
            draft.write_text(json.dumps(self.known, indent=1))
            draft.replace(self.path)


def imported(path: Path) -> Iterator[Path]:
    """Files of this tree that a file imports, and those that make them packages."""
    roots = [ROOT / name for name in ("hw", "sw", "sim", ".")]
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            for root in roots:
                folders = [root.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
                found = [folder / "__init__.py" for folder in folders]
                yield from filter(Path.is_file, [*found, folders[-1].with_suffix(".py")])


@functools.cache
def dependencies(stage: str) -> tuple[Path, ...]:
    """A test and all it imports, directly or not."""
    first = ROOT / stage.split("::")[0].split()[0]
    todo, known = [first, ROOT / "tests" / "conftest.py"], set()
    todo += [folder / "conftest.py" for folder in first.parents if folder > ROOT / "tests"]
    while todo:
        path = todo.pop().resolve()
        if path.is_file() and path not in known:
            known.add(path)
            todo += imported(path)
    return tuple(sorted(known))


def key_of(mutation: Mutation | None, tests: Iterable[str]) -> str:
    """Hash of all that decides a result: the tests and what they import, with the mutation."""
    changed = mutate(ROOT, mutation) if mutation else None
    digest = hashlib.sha256("\0".join(tests).encode())
    for path in sorted({path for stage in tests for path in dependencies(stage)}):
        text = changed[1] if changed and path == changed[0].resolve() else path.read_text()
        digest.update(f"{path.relative_to(ROOT)}\0{text}\0".encode())
    return digest.hexdigest()
