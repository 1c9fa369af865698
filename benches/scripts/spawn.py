#!/usr/bin/env python3
"""How many runs a second of a program that does nothing: beside a bare posix_spawn loop of two threads and `xargs -P2`, all in
one run. Everything waits behind a gate first, so that what is measured is start to record alone."""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

from common import Directory, Started, clean_env, compile_c, median, memory, row

JOBS = 8


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(sock.makefile().readline())
    if "ok" not in answer:
        raise SystemExit(answer)
    return answer


def bare(loop, program, count):
    return count / float(subprocess.check_output([loop, "2", str(count), "direct", program]))


def xargs(program, count):
    names = "x\n" * count
    begin = time.monotonic()
    subprocess.run(["xargs", "-P2", "-n1", program], input=names, text=True, check=True)
    return count / (time.monotonic() - begin)


def ran(program, count, places, policies="", ballast=None):
    """Runs a second from the first start to the last end on record, and bytes for each run that waits."""
    with Directory() as directory:
        directory.settings(f"max_concurrent_runs: {places}\n")
        gate = directory.path / "gate"
        wait = f"overlap: allow\ncommand: [sh, -c, 'while [ ! -e {gate} ]; do sleep 0.02; done']\n"
        directory.job("gate.yaml", "manual: true\n" + wait)
        for n in range(JOBS):
            # Bare defaults but for the queue, which holds what is asked for beforehand.
            text = f"manual: true\noverlap: allow\nmax_queued: 100000\n{policies}command: [{program}]\n"
            directory.job(f"job{n}.yaml", text)
        env = dict(os.environ)
        if ballast:
            os.environ.update(LD_PRELOAD=ballast, BALLAST="1024")
        try:
            started = Started(directory)
        finally:
            os.environ.clear()
            os.environ.update(env)
        with started:
            path = directory.path / "logs" / "runner.sock"
            # Once in a job's life its directory and its files are made: that is not what is measured.
            for n in range(JOBS):
                ask(path, {"verb": "run", "job": f"job{n}", "wait": True})
            for _ in range(places):
                ask(path, {"verb": "run", "job": "gate"})
            before = memory(started.pid)
            for n in range(count):
                ask(path, {"verb": "run", "job": f"job{n % JOBS}"})
            waiting = (memory(started.pid) - before) * 2**20 / count
            gate.touch()
            ends, begin = [], time.monotonic()
            while len(ends) < count + JOBS and time.monotonic() - begin < 120:
                time.sleep(0.1)
                ends = []
                for log in (directory.path / "logs" / "jobs").glob("job*/runs.log*"):
                    ends += [line for line in log.read_text().splitlines() if '"event":"end"' in line]
            ends = sorted((json.loads(line) for line in ends), key=lambda end: end["started"])
            assert len(ends) == count + JOBS and all(end["status"] == "success" for end in ends), (len(ends), ends[:1])
            held = memory(started.pid)
        ends = ends[JOBS:]
        at = lambda text: time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(text[19:23])
        span = max(at(end["ended"]) for end in ends) - min(at(end["started"]) for end in ends)
        return len(ends) / span, waiting, held


def running(program, count):
    """Bytes of memory for each run that is under way."""
    with Directory() as directory:
        directory.settings(f"max_concurrent_runs: {count + 1}\n")
        directory.job("a.yaml", f"manual: true\noverlap: allow\ncommand: [{program}]\n")
        directory.job("b.yaml", "manual: true\noverlap: allow\ncommand: [sleep, '60']\n")
        with Started(directory) as started:
            path = directory.path / "logs" / "runner.sock"
            ask(path, {"verb": "run", "job": "a", "wait": True})
            before = memory(started.pid)
            runs = [ask(path, {"verb": "run", "job": "b"})["ok"]["run"] for _ in range(count)]
            while len(ask(path, {"verb": "status"})["ok"]["running"]) < count:
                time.sleep(0.05)
            # What takes its time gives back what its start used.
            time.sleep(3)
            # A kibibyte-exact figure of each thread would need a quiet allocator: the sum is what counts.
            each = (memory(started.pid) - before) * 2**20 / count
            for run in runs:
                ask(path, {"verb": "cancel", "run": run})
    return each


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    # Each record of a job names those of its runs that wait, up to 200: with a deep queue that is what is measured.
    parser.add_argument("--count", type=int, default=240, help="runs in each measurement")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--places", type=int, default=4, help="runs at once")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        program, loop = compile_c("true.c", scratch), compile_c("spawn_loop.c", scratch, "-pthread")
        os.chmod(scratch, 0o755)
        ballast = str(pathlib.Path(scratch) / "ballast.so")
        source = pathlib.Path(__file__).with_name("ballast.c")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", ballast, str(source)], check=True)
        kinds = {
            "runner, default policies": dict(),
            "the same, holding 1 GB": dict(ballast=ballast),
        }
        if os.geteuid() == 0:
            kinds["run_as"] = dict(policies="working_directory: /\nrun_as: { user: nobody }\n")
            kinds["sandbox, read_only"] = dict(policies="sandbox: { read_only: true }\n")
            kinds["sandbox, all of it"] = dict(
                policies="working_directory: /\nsandbox: { read_only: true, network: false, tmp: private }\n"
            )
        rates = {"bare loop, two threads": [], "xargs -P2": []} | {kind: [] for kind in kinds}
        waiting = []
        for _ in range(args.rounds):
            rates["bare loop, two threads"].append(bare(loop, program, max(args.count, 2000)))
            rates["xargs -P2"].append(xargs(program, max(args.count, 2000)))
            for kind, options in kinds.items():
                # A program in /tmp is not there in a private one.
                target = program
                if "tmp: private" in options.get("policies", ""):
                    target = str(pathlib.Path("/var") / f"runner-bench-true-{os.getpid()}")
                    subprocess.run(["cp", program, target], check=True)
                try:
                    rate, each, _ = ran(target, args.count, args.places, **options)
                finally:
                    if target != program:
                        os.unlink(target)
                rates[kind].append(rate)
                if not options:
                    waiting.append(each)
        base = median(rates["bare loop, two threads"])
        for kind, found in rates.items():
            row(kind, f"{median(found):,.0f} runs a second", f"{100 * median(found) / base:.0f} % of the bare loop")
        row("memory for each run that waits", f"{median(waiting) / 1000:.1f} KB", "< 25 KB")
        row("memory for each run that is under way", f"{running(program, 200) / 1000:.1f} KB", "< 25 KB")


if __name__ == "__main__":
    main()
