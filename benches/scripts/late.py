#!/usr/bin/env python3
"""How late runs start: one job alone, and 1,000 due in the same second, beside a bare posix_spawn loop over the same commands.
With --peers also cron, APScheduler and yacron, each where it is installed."""

import argparse
import datetime
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from common import Directory, Started, clean_env, compile_c, median, percentile, row


def stamps(path):
    """Nanoseconds at which each command began."""
    try:
        return [int(line.split()[0]) for line in pathlib.Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def at_second(ahead):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=ahead)).replace(microsecond=0)


def wait_for(path, count, patience):
    """Waits until so many commands have begun, and no longer than that."""
    end = time.monotonic() + patience
    while len(stamps(path)) < count and time.monotonic() < end:
        time.sleep(0.05)


def alone(stamp, seconds):
    with Directory() as directory:
        out = directory.path / "stamps"
        directory.job("tick.yaml", f'schedule: "* * * * * *"\ncommand: [{stamp}, {out}]\n')
        with Started(directory):
            time.sleep(seconds + 1.5)
        late = [(at % 1_000_000_000) / 1e6 for at in stamps(out)]
    return late


def together(stamp, count, form):
    with Directory() as directory:
        out = directory.path / "stamps"
        due = at_second(6 + count // 2000)
        when = due.strftime("%-S %-M %-H * * *")
        for n in range(count):
            command = f"{stamp} {out} {n}" if form == "shell" else f"[{stamp}, {out}, '{n}']"
            directory.job(f"job{n}.yaml", f'schedule: "{when}"\ncommand: {command}\n')
        with Started(directory) as started:
            wait_for(out, count, 30)
            # Everything is recorded before it counts.
            records = directory.path / "logs" / "jobs"
            end = time.monotonic() + 10
            while time.monotonic() < end:
                ended = sum('"event":"end"' in (path / "runs.log").read_text() for path in records.iterdir())
                if ended >= count:
                    break
                time.sleep(0.1)
        return [at / 1e6 - due.timestamp() * 1000 for at in stamps(out)], ended


def bare_loop(loop, stamp, count, form, threads):
    with tempfile.TemporaryDirectory() as directory:
        out = f"{directory}/stamps"
        if form == "shell":
            command = [loop, str(threads), str(count), "shell", f"{stamp} {out} 1"]
        else:
            command = [loop, str(threads), str(count), "direct", stamp, out, "1"]
        begin = time.time()
        subprocess.run(command, check=True, capture_output=True)
        return [at / 1e6 - begin * 1000 for at in stamps(out)]


def show(what, late, count, missing_of, targets=("", "")):
    if not late:
        row(what, "nothing ran")
        return
    row(f"{what}: median, ms", f"{median(late):.1f}", targets[0])
    row(f"{what}: last, ms", f"{max(late):.1f}", targets[1])
    if len(late) != count:
        row(f"{what}: missing", str(missing_of - len(late)))


def cron(stamp, count):
    """Debian's cron looks at each minute; its jobs run as a user, so they need the system's crontab folder."""
    if not shutil.which("cron") or os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        out = f"{directory}/stamps"
        due = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=75)).replace(second=0, microsecond=0)
        table = pathlib.Path("/etc/cron.d/runner-bench")
        local = due.astimezone()
        lines = [f"{local.minute} {local.hour} * * * root {stamp} {out} {n}\n" for n in range(count)]
        table.write_text("SHELL=/bin/sh\n" + "".join(lines))
        process = subprocess.Popen(["cron", "-f"])
        try:
            wait_for(out, count, 100)
        finally:
            process.terminate()
            process.wait()
            table.unlink()
        return [at / 1e6 - due.timestamp() * 1000 for at in stamps(out)]


APSCHEDULER = """
import datetime, subprocess, sys
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.executors.pool import ThreadPoolExecutor
stamp, out, count, due = sys.argv[1], sys.argv[2], int(sys.argv[3]), datetime.datetime.fromisoformat(sys.argv[4])
scheduler = BlockingScheduler(executors={"default": ThreadPoolExecutor(64)}, job_defaults={"misfire_grace_time": 60}, timezone="UTC")
for n in range(count):
    scheduler.add_job(subprocess.run, "date", run_date=due, args=[f"{stamp} {out} {n}"], kwargs={"shell": True})
scheduler.start()
"""


def apscheduler(stamp, count):
    if importlib.util.find_spec("apscheduler") is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        out = f"{directory}/stamps"
        due = at_second(8)
        process = subprocess.Popen([sys.executable, "-c", APSCHEDULER, stamp, out, str(count), due.isoformat()])
        try:
            wait_for(out, count, 40)
        finally:
            process.terminate()
            process.wait()
        return [at / 1e6 - due.timestamp() * 1000 for at in stamps(out)]


def yacron(stamp, count):
    if not shutil.which("yacron"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        out = f"{directory}/stamps"
        due = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=75)).replace(second=0, microsecond=0)
        jobs = "".join(
            f"  - name: job{n}\n    command: {stamp} {out} {n}\n    schedule: \"{due.minute} {due.hour} * * *\"\n    utc: true\n"
            for n in range(count)
        )
        table = pathlib.Path(directory) / "tab.yaml"
        table.write_text("jobs:\n" + jobs)
        process = subprocess.Popen(["yacron", "-c", str(table)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env())
        try:
            wait_for(out, count, 100)
        finally:
            process.terminate()
            process.wait()
        return [at / 1e6 - due.timestamp() * 1000 for at in stamps(out)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=40, help="how long the one job runs each second")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tools:
        os.chmod(tools, 0o755)
        stamp = compile_c("stamp.c", tools)
        loop = compile_c("spawn_loop.c", tools, "-pthread")
        late = alone(stamp, args.seconds)
        row(f"one job, list form, {len(late)} runs: median, ms", f"{median(late):.2f}", "< 1.5")
        row("one job, list form: p99, ms", f"{percentile(late, 0.99):.2f}", "< 6")
        for form, targets in (("shell", ("< 480", "< 950")), ("list", ("", ""))):
            name = "1,000 through sh -c" if form == "shell" else "1,000 in list form"
            late, ended = together(stamp, args.count, form)
            show(name.replace("1,000", f"{args.count:,}"), late, args.count, args.count, targets)
            if ended != args.count:
                row("records missing", str(args.count - ended), "0")
            bare = bare_loop(loop, stamp, args.count, form, 2)
            show("  a bare loop of two threads over the same", bare, args.count, args.count)
            row("  ratio of the medians, runner to bare loop", f"{median(late) / median(bare):.2f}")
        if args.peers:
            for name, peer in (("APScheduler, 64 threads", apscheduler), ("cron", cron), ("yacron", yacron)):
                late = peer(stamp, args.count)
                if late is None:
                    row(name, "not installed")
                else:
                    show(name, late, args.count, args.count)


if __name__ == "__main__":
    main()
