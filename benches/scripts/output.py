#!/usr/bin/env python3
"""A job that prints much: its own speed, and the runner's memory and CPU time meanwhile."""

import argparse
import pathlib
import subprocess
import tempfile
import time

from common import Directory, Started, clean_env, compile_c, cpu_seconds, median, memory, row, runner


def measure(lines, mib, length, limit):
    """MB/s as the job sees it, the runner's peak memory in MiB, its CPU seconds."""
    with Directory() as directory:
        took = directory.path / "took"
        directory.settings("logs: { max_size: 10MB, max_files: 5 }\n")
        directory.job(
            "print.yaml",
            f"manual: true\ncommand: [{lines}, '{mib << 20}', '{length}', {took}]\nlimits: {{ output: {limit} }}\n",
        )
        with Started(directory) as started:
            cpu = cpu_seconds(started.pid)
            subprocess.run(
                [runner(), "-C", str(directory.path), "run", "print"], check=True, capture_output=True, env=clean_env()
            )
            log = directory.path / "logs" / "jobs" / "print" / "runs.log"
            end = time.monotonic() + 120
            while time.monotonic() < end and not (log.exists() and '"event":"end"' in log.read_text()):
                time.sleep(0.01)
            peak = memory(started.pid, "VmHWM")
            used = cpu_seconds(started.pid) - cpu
        seconds = float(pathlib.Path(took).read_text())
    return (mib << 20) / 1e6 / seconds, peak, used


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tools:
        lines = compile_c("lines.c", tools)
        for length, limit, target in ((100, "10MB", ">= 600"), (8, "10MB", ""), (8, "none", ">= 80"), (100, "none", ">= 350"), (1000, "none", "")):
            results = [measure(lines, args.mib, length, limit) for _ in range(args.runs)]
            what = f"{args.mib} MiB in lines of {length} bytes, limits.output: {limit}"
            row(f"{what}: MB/s", f"{median([r[0] for r in results]):.0f}", target)
            row("  the runner's peak memory, MiB", f"{max(r[1] for r in results):.1f}", "< 30")
            row("  the runner's CPU time, s", f"{median([r[2] for r in results]):.2f}")


if __name__ == "__main__":
    main()
