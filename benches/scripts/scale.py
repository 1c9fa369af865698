#!/usr/bin/env python3
"""10,000 job files: validate, start, memory, one change, an idle minute. `--cold` also with the page cache evicted."""

import argparse
import os
import subprocess
import time

from common import Directory, Started, clean_env, cpu_seconds, median, memory, row, runner, switches

JOB = """# yaml-language-server: $schema=../schema/job.schema.json
description: Job number {n} of the measurement
schedule: "{minute} {hour} * * *"
command: ["/bin/true", "{n}"]
timeout: 10m
labels: {{ team: t{team} }}
"""


def fill(directory, count):
    for n in range(count):
        # A day ahead of now, so that none comes due.
        hour = (time.gmtime().tm_hour + 2 + n % 20) % 24
        directory.job(f"g{n % 20}/job{n}.yaml", JOB.format(n=n, minute=n % 60, hour=hour, team=n % 7))


def evict(directory):
    for top, _, files in os.walk(directory.path):
        for name in files:
            fd = os.open(os.path.join(top, name), os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def timed_validate(directory):
    begin = time.monotonic()
    done = subprocess.run([runner(), "-C", str(directory.path), "validate"], capture_output=True, env=clean_env())
    assert done.returncode == 0, done.stdout[-2000:]
    return time.monotonic() - begin


def change(directory, started, runs=7):
    """One changed file: how long until it is live beyond the debounce, and what it costs."""
    waits, costs = [], []
    log = directory.path / "logs" / "runner.log"
    for n in range(runs):
        time.sleep(1.0)
        before = log.read_text().count("reload:")
        cpu = cpu_seconds(started.pid)
        path = directory.path / "jobs" / "g1" / "job1.yaml"
        text = path.read_text().replace(f"timeout: {10 + n}m", f"timeout: {11 + n}m")
        begin = time.monotonic()
        path.write_text(text)
        while log.read_text().count("reload:") == before:
            if time.monotonic() - begin > 10:
                raise SystemExit("the change was not taken up")
            time.sleep(0.0005)
        waits.append((time.monotonic() - begin) * 1000)
        time.sleep(0.5)
        costs.append((cpu_seconds(started.pid) - cpu) * 1000)
    return median(waits), median(costs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--idle", type=int, default=60, help="seconds of the idle part; 0 leaves it out")
    args = parser.parse_args()
    with Directory() as directory:
        directory.settings("reload: { debounce: 200ms }\n")
        fill(directory, args.count)
        timed_validate(directory)
        row("validate, page cache warm, s", f"{median([timed_validate(directory) for _ in range(5)]):.3f}", "< 0.8")
        ready = []
        for n in range(5):
            with Started(directory) as started:
                ready.append(started.ready)
                resident = memory(started.pid)
            if n == 0:
                first = ready.pop()
        row("first start (writes last-good.jsonl) to everything scheduled, s", f"{first:.3f}", "< 1.0")
        row("start to everything scheduled, page cache warm, s", f"{median(ready):.3f}", "< 1.0")
        row("resident after the start, MiB", f"{resident:.1f}", "< 45")
        if args.cold:
            evict(directory)
            cold = timed_validate(directory)
            evict(directory)
            with Started(directory) as started:
                row("start with the page cache evicted, s", f"{started.ready:.3f}", "< 2")
            row("validate with the page cache evicted, s", f"{cold:.3f}", "")
        with Started(directory, log_level="info") as started:
            time.sleep(1)
            wait, cost = change(directory, started)
            row("one changed file live after, ms beyond the debounce of 200", f"{wait - 200:.1f}", "< 60")
            row("one changed file costs, ms of CPU", f"{cost:.1f}", "< 45")
            row("resident after the changes, MiB", f"{memory(started.pid):.1f}", "< 45")
            if args.idle:
                time.sleep(2)
                cpu, woken = cpu_seconds(started.pid), switches(started.pid)
                time.sleep(args.idle)
                row("idle, ms of CPU a minute", f"{(cpu_seconds(started.pid) - cpu) * 60_000 / args.idle:.1f}", "< 45")
                row("idle, wake-ups a second", f"{(switches(started.pid) - woken) / args.idle:.2f}", "<= 2")


if __name__ == "__main__":
    main()
