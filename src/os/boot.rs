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

/// Field 22 of a `stat` line. Allocates nothing, so that a child may call it before it executes its program.
pub(super) fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // The command's name stands in parentheses and may hold anything, parentheses included.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let field = stat.get(after_name..)?.split(|b| *b == b' ').filter(|f| !f.is_empty()).nth(19)?;
    field.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))))
}

/// The run id in a process's environment, if the process can be looked at.
pub fn run_id_of(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|b| *b == 0)
        .find_map(|entry| entry.strip_prefix(b"RUNNER_RUN_ID="))
        .map(|id| String::from_utf8_lossy(id).into_owned())
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
    fn a_name_with_parentheses_does_not_move_the_field() {
        let line =
            b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 2461696 0 18446744073709551615";
        assert_eq!(parse_start_time(line), Some(987_654));
        assert_eq!(parse_start_time(b"42 (x"), None);
    }

    #[test]
    fn this_process_has_a_start_time_and_no_process_has_pid_zero() {
        assert!(start_time(std::process::id() as i32).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(0), None);
        assert!(!boot_id().is_empty());
    }
}
