"""Rules that hold for every file: short functions, few loose files, a README that is read."""

import ast

from tests.places import ROOT

SOURCES = sorted(
    path for folder in ("hw", "sw", "sim", "scripts") for path in (ROOT / folder).rglob("*.py")
)
LONGEST = 80
"""Lines of a function, its docstring aside."""


def lengths(source):
    """Functions of a file and their lines, docstrings aside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            doc = first.end_lineno - first.lineno + 1 if documented else 0
            yield node.name, node.end_lineno - node.lineno + 1 - doc


def test_no_function_is_longer_than_a_page():
    assert len(SOURCES) > 150
    long = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in SOURCES
        for name, lines in lengths(path.read_text())
        if lines > LONGEST
    ]
    assert not long


def test_lengths_leave_out_docstrings():
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert list(lengths(text)) == [("f", 2)]


def test_the_software_has_two_loose_files():
    loose = {path.name for path in (ROOT / "sw" / "termac").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py", "errors.py", "files.py"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
