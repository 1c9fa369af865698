//! A service manager is told what it waits for, at a real socket.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::sandbox::{Sandbox, wait_for};

struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn new(sandbox: &Sandbox) -> Self {
        let socket = UnixDatagram::bind(sandbox.outside("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
    }

    fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|message| message.lines().any(|one| one.starts_with(line))).count()
    }

    fn wait(&mut self, line: &str, count: usize) {
        wait_for(line, || {
            self.hear();
            self.count(line) >= count
        });
    }
}

#[test]
fn a_service_manager_hears_of_the_start_the_reload_the_status_the_watchdog_and_the_stop() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: sleep 300\nkill_grace: 1s\n");
    let mut manager = Manager::new(&sandbox);
    let mut command = sandbox.command(&["start"]);
    command.env("NOTIFY_SOCKET", sandbox.outside("notify")).env("WATCHDOG_USEC", "400000");
    let runner = sandbox.start_command(command);
    manager.wait("READY=1", 1);
    manager.wait("WATCHDOG=1", 3);
    assert_eq!(
        (manager.count("STATUS=1 job, 0 stale, 0 invalid; 0 running, 0 queued"), manager.count("RELOADING=1")),
        (1, 0)
    );

    runner.signal(libc::SIGHUP);
    manager.wait("RELOADING=1", 1);
    manager.wait("READY=1", 2);
    let reloading = manager.heard.iter().find(|message| message.contains("RELOADING=1")).unwrap();
    let at: i64 = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    assert!((0..60_000_000).contains(&(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000 - at)));

    // The command hears of none of it.
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || !sandbox.events("a", "start").is_empty());
    let pid = sandbox.events("a", "start")[0]["pid"].as_i64().unwrap();
    let environment = || std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    wait_for("it is the command", || String::from_utf8_lossy(&environment()).contains("RUNNER_RUN_ID"));
    let environment = String::from_utf8_lossy(&environment()).into_owned();
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG_USEC"));

    runner.signal(libc::SIGTERM);
    manager.wait("STOPPING=1", 1);
    manager.wait("EXTEND_TIMEOUT_USEC=", 1);
    assert_eq!(manager.count("STATUS=stopping; 1 job, 0 stale, 0 invalid; 1 running, 0 queued"), 1);
    // The loop lives on while it waits for the run.
    let before = manager.count("WATCHDOG=1");
    manager.wait("WATCHDOG=1", before + 2);
    runner.signal(libc::SIGTERM);
    assert_eq!(runner.wait(), 0);
}

#[test]
fn nobody_at_the_socket_is_said_once_and_stops_nothing() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: echo fine\n");
    let mut command = sandbox.command(&["start"]);
    command.env("NOTIFY_SOCKET", sandbox.outside("nobody")).env("WATCHDOG_USEC", "100000");
    let runner = sandbox.start_command(command);
    sandbox.wait_for_log("the service manager cannot be told anything (NOTIFY_SOCKET): ");
    sandbox.run(&["run", "a", "--wait"]).code(0).says("fine");
    runner.stop();
    assert_eq!(sandbox.logged("the service manager cannot be told anything"), 1);
}

#[test]
fn nothing_is_ready_again_once_the_runner_stops() {
    let sandbox = Sandbox::new().file("jobs/a.yaml", "manual: true\ncommand: sleep 300\nkill_grace: 1s\n");
    let mut manager = Manager::new(&sandbox);
    let mut command = sandbox.command(&["start"]);
    command.env("NOTIFY_SOCKET", sandbox.outside("notify"));
    let runner = sandbox.start_command(command);
    manager.wait("READY=1", 1);
    sandbox.run(&["run", "a"]).code(0);
    wait_for("it runs", || !sandbox.events("a", "start").is_empty());
    runner.signal(libc::SIGHUP);
    runner.signal(libc::SIGTERM);
    manager.wait("STOPPING=1", 1);
    // Compared all the same, for whoever looks at the log.
    sandbox.wait_for_logs("asked to compare the files: nothing changed", 1);
    runner.signal(libc::SIGHUP);
    sandbox.wait_for_logs("asked to compare the files: nothing changed", 2);
    runner.signal(libc::SIGTERM);
    assert_eq!(runner.wait(), 0);
    manager.hear();
    let stopping = manager.heard.iter().position(|message| message.contains("STOPPING=1")).unwrap();
    let after = &manager.heard[stopping..];
    assert!(after.iter().all(|message| !message.contains("READY=1") && !message.contains("RELOADING=1")), "{after:?}");
}
