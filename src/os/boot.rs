//! Who a process is across reboots: its PID alone is reused, PID with start time and boot id is not.

use std::sync::OnceLock;

/// The id that the kernel drew at this boot; empty where it tells none.
pub fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_string())
            .unwrap_or_default()
    })
}

/// When a process started, in clock ticks since boot; `None` if there is no such process (proc(5), `stat`, field 22).
pub fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The time since boot as processes' start times are told, in clock ticks; `None` so close to the next tick, or the one before,
/// that two looks at the clock might not agree. Async-signal-safe.
pub(super) fn ticks_now() -> Option<u64> {
    const MARGIN: u64 = 20_000;
    // SAFETY: asks for a constant of the system, and fills plain memory.
    let (a_second, now) = unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        if libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) != 0 {
            return None;
        }
        (libc::sysconf(libc::_SC_CLK_TCK), now)
    };
    let tick = 1_000_000_000u64.checked_div(u64::try_from(a_second).ok()?)?;
    let now = u64::try_from(now.tv_sec).ok()? * 1_000_000_000 + u64::try_from(now.tv_nsec).ok()?;
    let within = now % tick;
    (within > MARGIN && within < tick - MARGIN).then_some(now / tick)
}

/// Field 22 of a `stat` line. Allocates nothing, so that a child may call it before it executes its program.
pub(super) fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // The command's name stands in parentheses and may hold anything, parentheses included.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let field = stat.get(after_name..)?.split(|b| *b == b' ').filter(|f| !f.is_empty()).nth(19)?;
    field.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))))
}

/// A process of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub pid: i32,
    /// It has not ended.
    pub is_running: bool,
    /// The signal that ended it, 0 if none did or the system does not tell.
    pub ended_by: i32,
}

/// The processes of a group that can be seen (proc(5), `stat`, fields 3, 5 and 52).
pub(super) fn members_of(group: i32) -> Vec<Member> {
    let stat = |pid: i32| std::fs::read(format!("/proc/{pid}/stat")).ok();
    all_pids().into_iter().filter_map(|pid| parse_member(&stat(pid)?, group)).collect()
}

/// Field 1.
fn pid_of(stat: &[u8]) -> i32 {
    stat.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + i32::from(b - b'0'))
}

fn parse_member(stat: &[u8], group: i32) -> Option<Member> {
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let text = String::from_utf8_lossy(stat.get(after_name..)?);
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
    (number(2) == Some(group)).then(|| Member {
        pid: pid_of(stat),
        is_running: !matches!(fields[0], "Z" | "X" | "x"),
        ended_by: number(49).unwrap_or(0) & 0x7f,
    })
}

/// The run id in a process's environment, if the process can be looked at.
///
/// A process that is becoming another program has no environment for a moment: then it is looked at again.
pub fn run_id_of(pid: i32) -> Option<String> {
    let mut environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    for _ in 0..LOOKS {
        if !environment.is_empty() || !may_have_environment(&std::fs::read(format!("/proc/{pid}/stat")).ok()?) {
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
        environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    }
    environment
        .split(|b| *b == 0)
        .find_map(|entry| entry.strip_prefix(b"RUNNER_RUN_ID="))
        .map(|id| String::from_utf8_lossy(id).into_owned())
}

const LOOKS: usize = 10;
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);

/// Neither a thread of the kernel nor a process that has ended (proc(5), `stat`, fields 3 and 9).
fn may_have_environment(stat: &[u8]) -> bool {
    const OF_KERNEL: u64 = 0x0020_0000;
    let Some(after_name) = stat.iter().rposition(|b| *b == b')') else { return false };
    let text = String::from_utf8_lossy(&stat[after_name + 1..]);
    let mut fields = text.split_whitespace();
    let has_ended = fields.next().is_none_or(|state| matches!(state, "Z" | "X" | "x"));
    let flags: u64 = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(OF_KERNEL);
    !has_ended && flags & OF_KERNEL == 0
}

/// The PIDs of all processes that can be seen.
pub fn all_pids() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_tells_start_times_as_the_kernel_does() {
        let mut looks = 0;
        while looks < 20 {
            let before = ticks_now();
            let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
            let told = start_time(child.id() as i32);
            let after = ticks_now();
            child.wait().unwrap();
            if before.is_some() && before == after {
                assert_eq!(told, before);
                looks += 1;
            }
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_field() {
        let line =
            b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 2461696 0 18446744073709551615";
        assert_eq!(parse_start_time(line), Some(987_654));
        assert_eq!(parse_start_time(b"42 (x"), None);
    }

    #[test]
    fn a_member_of_a_group_tells_whether_it_runs_and_what_ended_it() {
        let line = |state: &str, exit: i32| {
            let zeros = "0 ".repeat(46);
            format!("42 (a) b) {state} 1 77 {zeros}{exit}\n").into_bytes()
        };
        let member = |is_running, ended_by| Some(Member { pid: 42, is_running, ended_by });
        assert_eq!(parse_member(&line("S", 0), 77), member(true, 0));
        assert_eq!(parse_member(&line("Z", 15), 77), member(false, 15));
        assert_eq!(parse_member(&line("Z", 3 << 8), 77), member(false, 0));
        assert_eq!(parse_member(&line("S", 0), 78), None);
        assert_eq!(parse_member(b"42 (x", 77), None);
    }

    #[test]
    fn the_kernels_threads_and_what_has_ended_are_not_looked_at_again() {
        let line = |state: &str, flags: u64| format!("42 (a) b) {state} 1 42 42 0 -1 {flags} 1 0 0").into_bytes();
        assert!(may_have_environment(&line("S", 4_194_560)));
        assert!(!may_have_environment(&line("Z", 4_194_560)));
        assert!(!may_have_environment(&line("I", 69_238_880)), "a thread of the kernel");
        assert!(!may_have_environment(b"42 (x"));
        assert!(may_have_environment(&std::fs::read("/proc/self/stat").unwrap()));
    }

    #[test]
    fn this_process_has_a_start_time_and_no_process_has_pid_zero() {
        assert!(start_time(std::process::id() as i32).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(0), None);
        assert!(!boot_id().is_empty());
    }
}
