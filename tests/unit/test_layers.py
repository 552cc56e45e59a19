# SPDX-License-Identifier: LGPL-2.1-or-later
"""Imports go downward only, siblings do not import each other, and what is expensive or dangerous has one home."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lxctools"
GROUND = ("", "_prefix", "errors", "log", "paths", "files", "fd", "undo", "process", "progress")
# Unit -> rank. A unit is a package, or a module where one package spans two ranks.
RANKS = (
    dict.fromkeys(GROUND, 0)
    | {"linux": 1}
    | dict.fromkeys(("states", "namespaces", "locks", "idmap.ranges"), 2)
    | dict.fromkeys(("config", "protocol", "hooks", "idmap"), 3)
    | dict.fromkeys(("storage", "network", "mounts", "cgroup", "confine", "terminal", "template"), 4)
    | dict.fromkeys(("runtime", "lifecycle", "shipped"), 5)
    | {"container": 6, "cli": 7, "__main__": 7}
)
LATE_IMPORTS_IN = {"container", "cgroup.limits", "storage.backend", "network.iface", "cli._options", "cli._main", "cli.config", "cli.ls"}
HOMES = {"ctypes": ("linux.",), "_ctypes": ("linux._cdata",), "prctl": ("linux.prctl",), "pyroute2": ("network.admin",)}


def unit(module: str) -> str:
    """The unit of a module named without "lxctools."."""
    two = ".".join(module.split(".")[:2])
    return two if two in RANKS else module.partition(".")[0]


def imported(node: ast.AST, module: str, is_package: bool) -> list[str]:
    """The absolute names an import statement brings in; for `from x import y` both x and x.y."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parts = f"lxctools.{module}".split(".") if module else ["lxctools"]
    base = parts[: len(parts) - node.level + is_package] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    names = [f"{source}.{alias.name}" for alias in node.names]
    # A package that spans two ranks is not itself imported for what stands in the lower one.
    whole = node.module and not all(name.removeprefix("lxctools.") in RANKS for name in names)
    return names + ([source] if whole else [])


def _for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def faults(module: str, tree: ast.Module, is_package: bool = False) -> list[str]:
    """What the rules forbid in one module."""
    found = []
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f)}
    types = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and _for_types(i) for n in ast.walk(i)}
    mine = unit(module)
    for node in ast.walk(tree):
        for name in imported(node, module, is_package):
            top = name.partition(".")[0]
            if top in HOMES and not module.startswith(HOMES[top]):
                found.append(f"{module}: {top} belongs to {HOMES[top][0]}")
            target = unit(name.removeprefix("lxctools.")) if top == "lxctools" and name != "lxctools" else ""
            # A type may be named sideways, which imports nothing at run time; upwards not even that.
            limit = RANKS[mine] + (id(node) in types)
            if target in RANKS and target != mine and RANKS[target] >= limit > 0:
                found.append(f"{module}: imports {name}, which is not below it")
            if mine in GROUND and target not in GROUND and target in RANKS:
                found.append(f"{module}: the ground imports {name}")
            if mine == "cli" and name.startswith("lxctools.cli.") and not name.split(".")[2].startswith("_"):
                found.append(f"{module}: a command imports the command {name}")
        if id(node) in late and isinstance(node, ast.Import | ast.ImportFrom) and module not in LATE_IMPORTS_IN:
            found.append(f"{module}:{node.lineno}: an import inside a function")
    return found


def test_every_module_keeps_to_its_layer() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        assert unit(module) in RANKS, f"{module} has no place in the layers"
        found += faults(module, ast.parse(path.read_text()), is_package)
    assert not found, "\n".join(found)


def test_the_rules_find_what_they_forbid() -> None:
    def count(module: str, text: str) -> int:
        return len(faults(module, ast.parse(text)))

    assert count("config.keys", "from ..protocol import client") == 2  # sideways, module and name
    assert count("config.keys", "from .. import container") == 1
    assert count("log", "from .linux import sched") == 2
    assert count("runtime.start", "import lxctools.lifecycle.create") == 1
    assert count("cli.info", "from . import ls") == 1
    assert count("cli.info", "import ctypes") == 1
    assert count("cli.info", "def f():\n    import os") == 1
    assert count("idmap.ranges", "from . import apply") == 1
    assert count("idmap.apply", "from . import ranges") == 0
    assert count("config.values", "from ..idmap import ranges") == 0
    assert count("config.values", "from ..idmap import apply") == 2
    assert count("hooks.run", "if TYPE_CHECKING:\n    from ..config.net import Net") == 0
    assert count("hooks.run", "if TYPE_CHECKING:\n    from ..runtime.start import start") == 2
    assert count("runtime.start", "from .. import states\nfrom ..config.conf import Config\nfrom .child import x") == 0
