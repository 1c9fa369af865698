"""What the measuring scripts share: building the programs, a runner in a directory of its own, figures of a process."""

import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")


def runner():
    """The release binary, built if it is not there; RUNNER_BIN names another one."""
    named = os.environ.get("RUNNER_BIN")
    if named:
        return named
    binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "runner"
    if not binary.exists():
        subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    return str(binary)


def compile_c(source, directory, *flags):
    """A small C program beside this file, compiled static."""
    out = pathlib.Path(directory) / pathlib.Path(source).stem
    subprocess.run(
        ["gcc", "-O2", "-static", "-o", str(out), str(pathlib.Path(__file__).with_name(source)), *flags], check=True
    )
    return str(out)


def clean_env():
    return {key: value for key, value in os.environ.items() if not key.startswith("RUNNER_")}


class Directory:
    """A configuration directory that goes when the script ends."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="runner-bench-"))
        (self.path / "jobs").mkdir()

    def job(self, name, text):
        path = self.path / "jobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def settings(self, text):
        (self.path / "runner.yaml").write_text(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Started:
    """A running `runner start`; `ready` is how long it took until everything was scheduled."""

    def __init__(self, directory, *arguments, log_level="error"):
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [runner(), "-C", str(directory.path), "start", "--log-level", log_level, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_env(),
        )
        for line in self.process.stdout:
            if b"Ctrl+C" in line:
                break
        else:
            sys.exit("the runner did not start")
        self.ready = time.monotonic() - begin
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cpu_seconds(pid):
    """CPU time of all threads, from the scheduler's own count where it is there (nanoseconds), else in ticks."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except OSError:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK


def switches(pid):
    """How often threads of the process were woken: voluntary context switches."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


def memory(pid, field="VmRSS"):
    """MiB of a line of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def row(what, value, target=""):
    print(f"{what:<62} {value:>16}   {target}", flush=True)


def median(values):
    return statistics.median(values)
