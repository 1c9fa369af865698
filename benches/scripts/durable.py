#!/usr/bin/env python3
"""What `logs.sync` costs in runs a second, what a power cut costs without it, and memory under 200 jobs that print at once."""

import argparse
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from common import Directory, Started, clean_env, median, memory, row, runner

KINDS = ("none", "run", "always")


def records(logs):
    for path in pathlib.Path(logs).glob("jobs/*/runs.log"):
        for line in path.read_bytes().split(b"\n"):
            if line.startswith(b"{") and line.endswith(b"}"):
                yield json.loads(line)


def ends(logs):
    return sum(record["event"] == "end" for record in records(logs))


def seconds(text):
    hours, minutes, rest = text[11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def rate(sync, at_once, jobs):
    """Short runs a second, from the first start to the last end."""
    with Directory() as directory:
        directory.settings(f"max_concurrent_runs: {at_once}\nlogs: {{ sync: {sync} }}\n")
        for n in range(jobs):
            directory.job(f"j{n}.yaml", "on_start: true\ncommand: ['true']\n")
        with Started(directory, log_level="info"):
            logs = directory.path / "logs"
            while ends(logs) < jobs:
                time.sleep(0.2)
            found = list(records(logs))
        begun = min(seconds(record["started"]) for record in found)
        ended = max(seconds(record["ended"]) for record in found if record["event"] == "end")
    return jobs / (ended - begun)


def one_sync():
    """Milliseconds of one appended line and one fdatasync, on the disk of the temporary directory."""
    with tempfile.NamedTemporaryFile() as file:
        took = []
        for _ in range(100):
            begin = time.monotonic()
            os.write(file.fileno(), b"x" * 600)
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - begin) * 1000)
    return median(took)


def cut(sync, jobs, lasting):
    """Runs that had ended when the power of a disk of its own was cut, how many of them are there afterwards, and how old the
    newest of those that are gone was, in seconds."""
    shutdown, no_log_flush = 0x8004587D, (2).to_bytes(4, "little")
    with Directory() as directory:
        directory.settings(f"logs: {{ sync: {sync} }}\n")
        for n in range(jobs):
            directory.job(f"j{n}.yaml", "every: 1s\ncommand: ['true']\n")
        (directory.path / "logs").mkdir()
        script = 'truncate -s 64M disk && mkfs.ext4 -qF disk && mount -o loop disk logs && exec "$1" start --log-level error'
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", runner()],
            cwd=directory.path, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for line in process.stdout:
            if line.startswith(b"Ctrl+C"):
                break
        time.sleep(lasting)
        logs = f"/proc/{process.pid}/root{directory.path}/logs"
        place = os.open(logs, os.O_RDONLY)
        process.send_signal(signal.SIGSTOP)
        before = {record["run"]: record for record in records(logs) if record["event"] == "end"}
        fcntl.ioctl(place, shutdown, no_log_flush)
        os.close(place)
        process.kill()
        process.wait()
        disk = str(directory.path / "disk")
        while subprocess.run(["losetup", "-j", disk], capture_output=True, check=True).stdout:
            time.sleep(0.1)
        subprocess.run(
            ["unshare", "-m", "sh", "-c", "mkdir mnt && mount -o loop disk mnt && cp -r mnt after && umount mnt"],
            cwd=directory.path, check=True,
        )
        after = {record["run"] for record in records(directory.path / "after") if record["event"] == "end"}
        lost = [seconds(record["ended"]) for run, record in before.items() if run not in after]
        last = max(seconds(record["ended"]) for record in before.values())
    return len(before), len(lost), (last - min(lost)) if lost else 0.0


def many(jobs, megabytes, limit):
    """Seconds, and the runner's peak memory in MiB, while so many jobs print so much each at once."""
    with Directory() as directory:
        directory.settings(f"max_concurrent_runs: {jobs}\n")
        line = b"a line that is neither short nor very long, of a job that prints much\n"
        (directory.path / "big").write_bytes((line * (megabytes * 1_000_000 // len(line) + 1))[: megabytes * 1_000_000])
        for n in range(jobs):
            directory.job(f"j{n}.yaml", f"on_start: true\nlimits: {{ output: {limit} }}\ncommand: cat gate; exec cat big\n")
        os.mkfifo(directory.path / "gate")
        with Started(directory) as started:
            idle = memory(started.pid, "VmHWM")
            status = [runner(), "-C", str(directory.path), "status", "--json"]
            while len(json.loads(subprocess.run(status, capture_output=True, check=True, env=clean_env()).stdout)["running"]) < jobs:
                time.sleep(0.1)
            waiting = memory(started.pid)
            begin = time.monotonic()
            while ends(directory.path / "logs") < jobs:
                os.close(os.open(directory.path / "gate", os.O_RDWR))
                time.sleep(0.02)
            took = time.monotonic() - begin
            peak = memory(started.pid, "VmHWM")
    return took, idle, waiting, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    row("one line and one fdatasync, ms, median", f"{one_sync():.2f}")
    for at_once in (1, 64):
        for sync in KINDS:
            rates = [rate(sync, at_once, args.jobs) for _ in range(args.runs)]
            row(f"runs a second, {at_once} at once, logs.sync: {sync}", f"{median(rates):.0f}")
    if os.geteuid() == 0:
        for sync in KINDS:
            before, lost, age = cut(sync, 20, 20)
            row(f"a power cut after 20 s, logs.sync: {sync}: ended runs lost", f"{lost} of {before}", f"{age:.1f} s old")
    for limit in ("1MB", "10MB", "none"):
        took, idle, waiting, peak = many(200, 20, limit)
        row(f"200 jobs print 20 MB each at once, limits.output: {limit}: s", f"{took:.1f}")
        row("  the runner's memory: idle, with 200 that wait, peak; MiB", f"{idle:.0f} {waiting:.0f} {peak:.0f}", "< 76")


if __name__ == "__main__":
    main()
