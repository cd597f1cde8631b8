"""CPU time and memory of planning: dry runs and runs with nothing to do, for many serving configs.

    python benchmarks/scale.py 10 100 1000

Makes a cookbook of ten configs a model in a temporary copy of the project. Nothing is captured:
what jobs would write is made empty, and `snakemake --touch` declares it made. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "rules", "scripts", "config", "report", "environment.yml", "profiles")
SETTINGS = "model=all cookbook=book config_sources=configs"
DIRECTORIES = ("dumps", "derived", "candidates")
REPORT = {"model": None, "ok": True} | {
    key: []
    for key in (
        *("definitions", "configs", "refused", "errors", "quarantined", "existing", "filtered"),
        *("not_definitions", "dropped", "left_over", "warnings"),
    )
}
PER_MODEL = 10  # five ways to serve, with two attention backends each


def make_project(folder: Path, configs: int) -> None:
    """Copy the project, with a cookbook that asks for so many configs."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".mypy_cache")
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        else:
            shutil.copy2(ROOT / part, folder / part)
    models = []
    for number in range(configs // PER_MODEL):
        name = f"model-{number}"
        entries = [
            {"name": f"tp{tp}", "engine": {"tp": tp, "extra_args": []}} for tp in (1, 2, 4, 8, 16)
        ]
        hardware = {"H200": {"configurations": entries}}
        models.append({"name": name, "model_path": f"bench/{name}", "hardware": hardware})
        shutil.copytree(ROOT / "config/models/llama-3.1-8b", folder / f"configs/bench--{name}")
    book = folder / "book/data/models/generated/v1.0/bench.yaml"
    book.parent.mkdir(parents=True)
    families = [{"name": "Bench", "models": models}]
    book.write_text(yaml.safe_dump({"vendor": "bench", "families": families}))


def snakemake(folder: Path, *words: str) -> tuple[float, float, str]:
    """Run Snakemake; return its CPU seconds, its peak memory in MB, and its output.

    CPU time, since it stays the same on a machine that is busy with other work.
    """
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *words]
    process = subprocess.Popen(
        [*command, "--config", *SETTINGS.split()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(output)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def make_outputs(folder: Path) -> None:
    """Make what the jobs would write, empty, and declare it made."""
    _, _, output = snakemake(folder, "--summary")
    for line in output.splitlines():
        name = line.partition("\t")[0]
        if not name.startswith("results/"):
            continue
        path = folder / name
        if path.parent.name in DIRECTORIES:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(REPORT) if path.name == "report.json" else "")
    snakemake(folder, "--touch")


def measure(configs: int) -> list[str]:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, configs)
        cold = snakemake(folder, "--dry-run", "--quiet", "all")
        make_outputs(folder)
        dry = snakemake(folder, "--dry-run")
        idle = snakemake(folder)
        for _, _, output in (dry, idle):
            if "Nothing to be done" not in output:
                raise SystemExit(f"{configs} configs: not everything was declared made\n{output}")
    cells = [f"{seconds:.1f} s, {memory:.0f} MB" for seconds, memory, _ in (cold, dry, idle)]
    return [str(configs), str(configs // PER_MODEL), *cells]


def main() -> None:
    """Measure each number of configs that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", type=int, help="numbers of configs, tens of them")
    print("| configs | models | dry run, nothing made | dry run, all made | run, all made |")
    print("| --- | --- | --- | --- | --- |")
    for configs in parser.parse_args().configs:
        print(f"| {' | '.join(measure(configs))} |", flush=True)


if __name__ == "__main__":
    main()
