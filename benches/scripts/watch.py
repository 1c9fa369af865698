#!/usr/bin/env python3
"""Watches: from the closing of a file to the start of its command, 1,000 and 10,000 new files, a tree of 50,000, a ledger of a
million. In turn with watchexec, Python's watchdog and an `inotifywait` loop, each where it is there; WATCHEXEC names the first,
WATCHDOG_PYTHON a Python that has the second."""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from common import Directory, Started, clean_env, compile_c, cpu_seconds, median, memory, percentile, row, switches

WATCHDOG = """
import subprocess, sys
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
stamp, out, folder = sys.argv[1:4]
class Handler(FileSystemEventHandler):
    def on_closed(self, event):
        subprocess.run([stamp, out, event.src_path])
observer = Observer()
observer.schedule(Handler(), folder, recursive=True)
observer.start()
print("ready", flush=True)
observer.join()
"""

IDLE_WATCHDOG = WATCHDOG.replace("subprocess.run([stamp, out, event.src_path])", "pass")


class Stamps:
    """What the started commands have written, read on from where it was read last."""

    def __init__(self, path):
        self.path, self.file, self.lines, self.rest = path, None, [], b""

    def read(self):
        if self.file is None:
            try:
                self.file = open(self.path, "rb")
            except FileNotFoundError:
                return self.lines
        chunks = (self.rest + self.file.read()).split(b"\n")
        self.rest = chunks.pop()
        self.lines += [(int(at), name) for at, _, name in (chunk.partition(b" ") for chunk in chunks)]
        return self.lines

    def wait(self, enough, patience, pause=0.0005):
        end = time.monotonic() + patience
        while not enough(self.read()) and time.monotonic() < end:
            time.sleep(pause)
        return self.lines


class Peer:
    """A program that starts the stamp program for each file in `inbox`."""

    def __init__(self, name, stamp):
        self.name = name
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="runner-bench-peer-"))
        self.inbox, self.out = self.top / "inbox", self.top / "stamps"
        self.inbox.mkdir()
        self.stamps = Stamps(self.out)
        self.command = self.arguments(name, stamp)
        self.process = None

    def arguments(self, name, stamp):
        out, inbox = str(self.out), str(self.inbox)
        if name == "inotifywait loop":
            loop = f'inotifywait -m -r -q -e close_write --format %w%f "{inbox}" | while read -r f; do "{stamp}" "{out}" "$f"; done'
            return ["sh", "-c", loop]
        if name == "watchdog":
            return [watchdog_python(), "-c", WATCHDOG, stamp, out, inbox]
        queue = ["--debounce", "0", "--on-busy-update", "queue"] if name == "watchexec, debounce 0" else []
        environment = ["--emit-events-to", "environment"]
        # Without a shell of its own, which would take the words apart.
        return [watchexec(), "-q", "-p", "-n", "-w", inbox, *queue, *environment, "--", "sh", "-c", f'exec "{stamp}" "{out}" "$WATCHEXEC_WRITTEN_PATH"']

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, cwd=self.top, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env(), start_new_session=True
        )
        # It watches once it tells of a file.
        end, n = time.monotonic() + 20, 0
        while not self.stamps.read():
            if time.monotonic() > end:
                raise SystemExit(f"{self.name} does not tell of files")
            (self.inbox / f"ready{n}").write_text("x")
            n += 1
            time.sleep(0.2)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.top, ignore_errors=True)


class Runner:
    """The same by a watch."""

    name = "runner"

    def __init__(self, stamp):
        self.directory = Directory()
        # Not beside the job files: those are watched too.
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="runner-bench-watched-"))
        self.inbox, self.out = self.top / "inbox", self.top / "stamps"
        self.inbox.mkdir()
        self.stamps = Stamps(self.out)
        self.directory.job(
            "watch.yaml",
            f'watch: {{ paths: ["{self.inbox}"], settle: close }}\nmax_instances: 4\ncommand: ["{stamp}", "{self.out}", "{{path}}"]\n',
        )

    def __enter__(self):
        self.started = Started(self.directory, log_level="info")
        wait_ready(self.directory)
        (self.inbox / "ready").write_text("x")
        self.stamps.wait(bool, 20)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.started.__exit__()
        for path in (self.directory.path, self.top):
            shutil.rmtree(path, ignore_errors=True)

    def states(self):
        """How many files the ledger has in each state."""
        states = {}
        for line in (self.directory.path / "logs" / "jobs" / "watch" / "ledger.log").read_text().splitlines():
            entry = json.loads(line)
            states[entry["path"]] = entry["state"]
        return collections.Counter(state for path, state in states.items() if os.path.dirname(path) == str(self.inbox))


def watchexec():
    return os.environ.get("WATCHEXEC") or shutil.which("watchexec")


def watchdog_python():
    return os.environ.get("WATCHDOG_PYTHON") or sys.executable


def peers():
    """Those that are there."""
    found = []
    if shutil.which("inotifywait"):
        found.append("inotifywait loop")
    if subprocess.run([watchdog_python(), "-c", "import watchdog"], capture_output=True).returncode == 0:
        found.append("watchdog")
    if watchexec():
        found.append("watchexec, debounce 0")
    for name in ("inotifywait loop", "watchdog", "watchexec, debounce 0"):
        if name not in found:
            row(name, "not installed")
    return found


def says_ready(log):
    """Whether a watch has told in the log how it watches, which it does once it has looked at everything."""
    return b", ready after " in log or b" by polling every " in log


def wait_ready(directory, patience=60):
    """Until the watch says that it is ready, as its log tells."""
    log = directory.path / "logs" / "runner.log"
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if log.exists() and says_ready(log.read_bytes()):
            return
        time.sleep(0.002)
    raise SystemExit("the watch did not become ready")


def latency(stamp, names, count):
    """Close to start, a file at a time, all programs in turn."""
    everyone = []
    late = collections.defaultdict(list)
    try:
        for one in [Runner(stamp)] + [Peer(name, stamp) for name in names]:
            everyone.append(one.__enter__())
        for n in range(count + 5):
            for one in random.sample(everyone, len(everyone)):
                before = len(one.stamps.read())
                file = os.open(one.inbox / f"file{n}", os.O_WRONLY | os.O_CREAT)
                os.write(file, b"content")
                begin = time.time_ns()
                os.close(file)
                lines = one.stamps.wait(lambda lines: len(lines) > before, 5)
                if len(lines) > before and n >= 5:
                    late[one.name].append((lines[before][0] - begin) / 1e6)
                # What it may do besides, such as recording, is over.
                time.sleep(0.02)
    finally:
        for one in everyone:
            one.__exit__()
    for name, values in late.items():
        target = "< 1.5" if name == "runner" else ""
        row(f"close to start, {name}: median, ms", f"{median(values):.2f}", target)
        row("  p99, ms", f"{percentile(values, 0.99):.2f}")
        row("  missing", str(count - len(values)))
    for name, values in late.items():
        if name != "runner":
            row(f"  ratio of the medians, runner to {name}", f"{median(late['runner']) / median(values):.2f}")


def burst(one, count, patience):
    """Makes so many files as fast as it can. How many were named, in how many runs, and seconds until the last run began."""
    one.stamps.read()
    before = len(one.stamps.lines)
    begin = time.time_ns()
    for n in range(count):
        file = os.open(one.inbox / f"new{n}", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"content")
        os.close(file)
    made = (time.time_ns() - begin) / 1e9

    def quiet(lines):
        # Whoever names fewer than all says nothing more after a while.
        now = time.monotonic()
        if len(lines) != quiet.seen:
            quiet.seen, quiet.since = len(lines), now
        return len(lines) - before >= count or now - quiet.since > 4

    quiet.seen, quiet.since = -1, time.monotonic()
    lines = one.stamps.wait(quiet, patience, 0.01)[before:]
    time.sleep(0.3)
    lines = one.stamps.read()[before:]
    named = set()
    for _, name in lines:
        named.update(part.rsplit(b"/", 1)[-1] for part in name.split(b":"))
    last = (max(at for at, _ in lines) - begin) / 1e9 if lines else 0
    return sum(name.startswith(b"new") for name in named), len(lines), last, made


def bursts(stamp, names, count, rounds, target):
    found = collections.defaultdict(list)
    for _ in range(rounds):
        for name in ["runner", *names]:
            with Runner(stamp) if name == "runner" else Peer(name, stamp) as one:
                named, runs, last, made = burst(one, count, 60 + count / 100)
                left = None
                if name == "runner":
                    end = time.monotonic() + 20
                    while one.states()["done"] < count + 1 and time.monotonic() < end:
                        time.sleep(0.1)
                    left = count + 1 - one.states()["done"]
                    overflows = (one.directory.path / "logs" / "runner.log").read_text().count("lost count")
                    left = (left, overflows)
                found[name].append((named, runs, last, made, left))
    for name, all_rounds in found.items():
        lasts = [last for _, _, last, _, _ in all_rounds]
        what = f"{count:,} new files, {name}"
        row(f"{what}: last run after, s", f"{median(lasts):.2f}", target if name == "runner" else "")
        row("  each round, s", " ".join(f"{last:.2f}" for last in lasts))
        row("  files named, runs", ", ".join(f"{named} in {runs}" for named, runs, _, _, _ in all_rounds), "all" if name == "runner" else "")
        row("  making them alone took, s", " ".join(f"{made:.2f}" for _, _, _, made, _ in all_rounds))
        if name == "runner":
            row("  not done in the ledger; queue overflows", ", ".join(f"{left[0]}; {left[1]}" for *_, left in all_rounds), "0")


def pss(pid):
    """MiB of memory, what is shared counted in parts."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def tree(top, count, each=100):
    for folder in range(count // each):
        path = top / f"folder{folder % 25}" / f"sub{folder}"
        path.mkdir(parents=True)
        for n in range(each):
            (path / f"file{n}.txt").write_text("content")


def timed_ready(directory):
    """Seconds from the start of the program until the watch is ready, and the runner."""
    log = directory.path / "logs" / "runner.log"
    size = log.stat().st_size if log.exists() else 0
    begin = time.monotonic()
    started = Started(directory, log_level="info")
    while True:
        if log.exists():
            with open(log, "rb") as file:
                file.seek(size)
                if says_ready(file.read()):
                    return time.monotonic() - begin, started
        if time.monotonic() - begin > 60:
            raise SystemExit("the watch did not become ready")
        time.sleep(0.001)


def big_tree(count, seconds, rounds, names):
    with tempfile.TemporaryDirectory(prefix="runner-bench-tree-") as scratch:
        top = pathlib.Path(scratch) / "tree"
        tree(top, count)
        with Directory() as plain, Directory() as events, Directory() as polls:
            job = "command: [\"true\"]\n"
            plain.job("plain.yaml", "manual: true\n" + job)
            watch = f"watch: {{ paths: ['{top}'], existing: process, batch: {{ mode: all, max: 1000000, wait: 1s }}, settle: close"
            events.job("watch.yaml", watch + " }\n" + job)
            polls.job("watch.yaml", watch + ", backend: poll, poll: 30s }\n" + job)
            for directory in (events, polls):
                # All is done once: so the ledger has run ids and states as it usually has.
                cold, started = timed_ready(directory)
                with started:
                    path = directory.path / "logs" / "jobs" / "watch" / "ledger.log"
                    end = time.monotonic() + 60
                    done = lambda: path.read_text().count('"state":"done"') if path.exists() else 0
                    while done() < count and time.monotonic() < end:
                        time.sleep(0.2)
                    done = done()
                if done != count:
                    row(f"{count:,} files: done of them", str(done), "all")
                how = "by events" if directory is events else "polled"
                row(f"{count:,} files, all new, {how}: ready after, s", f"{cold:.2f}")
            ready, sizes, base_sizes = [], [], []
            for _ in range(rounds):
                with Started(plain, log_level="info") as started:
                    time.sleep(1)
                    base_sizes.append(pss(started.pid))
                took, started = timed_ready(events)
                with started:
                    ready.append(took)
                    time.sleep(1)
                    sizes.append(pss(started.pid))
            row(f"{count:,} files, warm ledger: ready after, s", f"{median(ready):.2f}", "< 0.5")
            row("  each round, s", " ".join(f"{took:.2f}" for took in ready))
            row("  memory beyond the runner without it, MB (PSS)", f"{(median(sizes) - median(base_sizes)) * 1.048576:.1f}", "< 40")
            idle({"without a watch": plain, "by events": events}, seconds)
            # By itself: its looks open folders, which are events for others.
            idle({"polled every 30 s": polls}, max(seconds, 60))
        tree_peers(top, count, names)


def idle(directories, seconds):
    """What these cost, all started at once, while nothing happens."""
    everyone = {name: Started(directory, log_level="info") for name, directory in directories.items()}
    try:
        time.sleep(5)
        begin = {name: (cpu_seconds(one.pid), switches(one.pid)) for name, one in everyone.items()}
        time.sleep(seconds)
        for name, one in everyone.items():
            cpu = (cpu_seconds(one.pid) - begin[name][0]) * 60_000 / seconds
            woken = (switches(one.pid) - begin[name][1]) / seconds
            row(f"  idle, {name}: CPU ms a minute", f"{cpu:.0f}", {"by events": "as without", "polled every 30 s": "< 600"}.get(name, ""))
            row(f"  idle, {name}: wake-ups a second", f"{woken:.1f}")
    finally:
        for one in everyone.values():
            one.__exit__()


def tree_peers(top, count, names):
    for name in names:
        with tempfile.TemporaryDirectory(prefix="runner-bench-peer-") as scratch:
            peer = Peer.__new__(Peer)
            peer.inbox, peer.out, peer.top = top, pathlib.Path(scratch) / "stamps", pathlib.Path(scratch)
            peer.name = name
            command = peer.arguments(name, "/bin/true")
            probe = top / "probe"
            if name == "inotifywait loop":
                command = ["inotifywait", "-m", "-r", "-q", "-e", "close_write", "--format", "%w%f", str(top)]
            elif name == "watchdog":
                command = [watchdog_python(), "-c", IDLE_WATCHDOG.replace("pass", "print(1, flush=True)"), "x", "x", str(top)]
            else:
                command = [watchexec(), "-q", "-p", "-w", str(top), "--debounce", "0", "--", "echo", "1"]
            begin = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_env(), start_new_session=True)
            try:
                os.set_blocking(process.stdout.fileno(), False)
                heard = b""
                while time.monotonic() - begin < 30 and len(heard.replace(b"ready\n", b"")) == 0:
                    probe.write_text("x")
                    time.sleep(0.005)
                    heard += process.stdout.read() or b""
                took = time.monotonic() - begin
                time.sleep(1)
                row(f"{count:,} files, {name}: tells of one after, s", f"{took:.2f}")
                row("  memory, MB (PSS)", f"{pss(process.pid) * 1.048576:.1f}")
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                probe.unlink(missing_ok=True)


def million(count, rounds):
    """A ledger of that many entries: how much longer the start takes, and what it keeps in memory."""
    with Directory() as plain, Directory() as full:
        for directory in (plain, full):
            (directory.path / "inbox").mkdir()
            directory.job("watch.yaml", 'watch: { paths: [inbox] }\ncommand: ["true"]\n')
        path = full.path / "logs" / "jobs" / "watch" / "ledger.log"
        path.parent.mkdir(parents=True)
        top = full.path / "elsewhere"
        with open(path, "w") as file:
            for n in range(count):
                # Below another root than the one that is watched now: they stay as they are.
                entry = {
                    "at": "2026-01-15T09:00:00.123Z", "state": "done", "path": f"{top}/folder{n // 1000}/file number {n}.pdf",
                    "event": "created", "dev": 65024, "inode": 1_000_000 + n, "size": 1000 + n % 5000,
                    "mtime": 1_768_467_600_123_456_789 + n * 1_000_003, "born": 1_768_467_600_000_456_789 + n * 1_000_003,
                    "run": f"019bc0f0-5c00-7000-8000-{n:012x}",
                }
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        row(f"ledger of {count:,} entries: its size, MB", f"{path.stat().st_size / 1e6:.0f}")
        took, base, sizes, base_sizes, peaks = [], [], [], [], []
        for _ in range(rounds):
            seconds, started = timed_ready(plain)
            with started:
                time.sleep(0.5)
                base.append(seconds)
                base_sizes.append(pss(started.pid))
            seconds, started = timed_ready(full)
            with started:
                time.sleep(0.5)
                took.append(seconds)
                sizes.append(pss(started.pid))
                peaks.append(memory(started.pid, "VmHWM"))
        row("  ready after, s (with an empty one)", f"{median(took):.2f} ({median(base):.2f})", "< 2")
        row("  memory beyond the same with an empty one, MB (PSS)", f"{(median(sizes) - median(base_sizes)) * 1.048576:.0f}", "< 300")
        row("  the runner's peak, MB (RSS)", f"{median(peaks) * 1.048576:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["latency", "1000", "10000", "tree", "ledger"], nargs="*")
    parser.add_argument("--count", type=int, default=200, help="files of which the start is timed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=120, help="how long idle watches are looked at")
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()
    meant = lambda what: not args.only or what in args.only
    with tempfile.TemporaryDirectory() as tools:
        os.chmod(tools, 0o755)
        stamp = compile_c("stamp.c", tools)
        names = [] if args.no_peers else peers()
        if meant("latency"):
            latency(stamp, names, args.count)
        if meant("1000"):
            bursts(stamp, names, 1000, args.rounds, "< 0.8")
        if meant("10000"):
            bursts(stamp, names, 10000, max(1, args.rounds // 2), "")
        if meant("tree"):
            big_tree(50_000, args.seconds, args.rounds, names)
        if meant("ledger"):
            million(1_000_000, args.rounds)


if __name__ == "__main__":
    main()
