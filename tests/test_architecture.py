"""What holds the house up: lazy imports, declared dependencies, honest errors."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from repdiag.errors import RepdiagError, UsageError
from repdiag.registry import Registry, did_you_mean
from repdiag.types import Interval, MetricResult, Null, Table

HEAVY = ("torch", "torchvision", "timm", "pandas", "matplotlib", "sklearn", "umap", "faiss", "scipy", "PIL")


def _loaded(code: str) -> set[str]:
    tail = f"\nimport sys; print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_importing_the_package_and_the_command_line_loads_nothing_heavy() -> None:
    assert _loaded("import repdiag, repdiag.cli") == set()


def test_help_loads_nothing_heavy() -> None:
    code = "from repdiag.cli import app\ntry:\n    app(['score', '--help'])\nexcept SystemExit:\n    pass"
    assert _loaded(code) == set()


def test_listing_metrics_loads_no_torch() -> None:
    code = "from repdiag.cli import app\ntry:\n    app(['metrics'])\nexcept SystemExit:\n    pass"
    assert "torch" not in _loaded(code)


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The first components of what the statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_every_import_is_a_declared_dependency() -> None:
    """The standard library and what pyproject.toml lists; an optional dependency only inside functions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module_of = {
        "scikit-learn": "sklearn",
        "umap-learn": "umap",
        "faiss-gpu": "faiss",
        "faiss-cpu": "faiss",
        "pillow": "PIL",
        "pytorch-lightning": "pytorch_lightning",
        "pillow-heif": "pillow_heif",
    }

    def modules(requirements: Iterable[str]) -> set[str]:
        names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}
        return {module_of.get(name, name) for name in names}

    always = modules(project["dependencies"]) | set(sys.stdlib_module_names) | {"repdiag"}
    extras = project["optional-dependencies"]
    optional = (
        always | modules(r for e in ("hf", "onnx", "lightning", "heif") for r in extras[e]) | {"lightning"}
    )
    for path in sorted((ROOT / "repdiag").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for name in imported(ast.walk(tree)):
            assert name in optional, f"{path.relative_to(ROOT)} imports {name}"
        for name in imported(tree.body):
            assert name in always, f"{path.relative_to(ROOT)} imports the optional {name} at its top"


def test_no_file_has_grown_past_reason() -> None:
    """A file past 450 lines is two ideas. (Around 300 it should already ask to be split.)"""
    for path in sorted(Path(ROOT / "repdiag").rglob("*.py")):
        assert len(path.read_text().splitlines()) <= 450, path.name


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = UsageError("There is no metric 'x'.", where="--metrics", do="Did you mean 'y'?")
    assert str(error) == "There is no metric 'x' (--metrics). Did you mean 'y'?"
    assert str(RepdiagError("Too small", do="Add more")) == "Too small. Add more."


def test_a_registry_refuses_a_collision_and_names_both_origins() -> None:
    registry: Registry[int] = Registry("thing", "repdiag.metrics")
    registry.add("a", 1, "here")
    with pytest.raises(ValueError, match=r"here.*there"):
        registry.add("a", 2, "there")


def test_a_typo_gets_the_closest_name() -> None:
    assert did_you_mean("rankm", ["rankme", "cdnv"]) == "Did you mean 'rankme'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."


def test_types_hold_no_nonsense() -> None:
    with pytest.raises(ValueError, match="finite"):
        MetricResult(float("nan"))
    with pytest.raises(ValueError, match="interval"):
        Interval(2.0, 1.0, "x", 10)
    with pytest.raises(ValueError, match="null"):
        Null("x", 0.0, -1.0, 3)
    import numpy as np

    with pytest.raises(ValueError, match="length"):
        Table({"a": np.arange(2), "b": np.arange(3)})
