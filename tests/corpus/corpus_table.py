# SPDX-License-Identifier: Apache-2.0
"""The table of docs/corpus.md, from the wrappers: `python tests/corpus/corpus_table.py` writes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from outcomes import REFUSED, STATIC

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "corpus.md"
WRAPPERS = sorted(
    p.stem for p in HERE.glob("*.py") if p.stem not in ("corpus_tools", "corpus_table", "corpus_sizes", "outcomes")
)

DISTRIBUTIONS = {
    "accelerated_scan": "accelerated-scan", "adasplash": "adasplash", "augment": "triton-augment", "awq": "autoawq",
    "cce": "cut-cross-entropy", "conch": "conch-triton-kernels", "fla": "fla-core", "flash_kmeans": "flash-kmeans",
    "flashinfer": "flashinfer-python", "flashlib": "flashlib", "gems": "flag-gems",
    "late_interaction": "late-interaction-kernels", "liger": "liger-kernel", "lightllm": "lightllm",
    "mingru": "mingru-scans", "mlstm": "mlstm-kernels", "moe_ops": "moe-ops", "sage": "sageattention",
    "te": "transformer-engine", "torchao": "torchao", "trinix": "trinix", "turboquant": "fused-turboquant",
    "unsloth": "unsloth", "xformers": "xformers", "xgrammar": "xgrammar",
}  # fmt: skip
"""By the first words of a wrapper's name."""


def distribution(wrapper: str) -> str:
    """The package that a wrapper's kernel is from."""
    return next(package for prefix, package in DISTRIBUTIONS.items() if wrapper.startswith(f"{prefix}_"))


def table() -> str:
    """A row for each wrapper: kernel, package, lines of definitions, what comes of it, and what it is an example of."""
    rows = ["| kernel | package | lines | static | dynamic | example of |", "|---|---|---|---|---|---|"]
    for name in WRAPPERS:
        tree = ast.parse((HERE / f"{name}.py").read_text())
        dynamic = f"not built: {STATIC[name]}" if name in STATIC else "compared"
        outcome = (f"refused: {REFUSED[name]}", "") if name in REFUSED else ("compared", dynamic)
        described = (ast.get_docstring(tree) or "").rstrip(".")
        cells = (f"`{_kernel(tree)}`", distribution(name), str(_lines(tree)), *outcome, described)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _kernel(tree: ast.Module) -> str:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    (call,) = (c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "aot_kernel")
    return ast.unparse(call.args[0]).rpartition(".")[2]


def _lines(tree: ast.Module) -> int:
    """Lines of the functions that TensorRT calls, decorators included."""
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.decorator_list]
    return sum(f.end_lineno - f.decorator_list[0].lineno + 1 for f in functions if f.end_lineno)


if __name__ == "__main__":
    text = TABLE.read_text()
    TABLE.write_text(re.sub(r"(?s)(<!-- table -->\n).*", lambda m: m[1] + table(), text))
