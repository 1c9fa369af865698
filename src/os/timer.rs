//! A timer on the wall clock that also tells when that clock is set.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Why the timer woke its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The time has come.
    Due,
    /// The clock was set: due times have to be looked at again, and the timer armed again.
    ClockSet,
}

/// One absolute CLOCK_REALTIME timer with cancel-on-set (timerfd_create(2)).
#[derive(Debug)]
pub struct WallTimer {
    fd: AsyncFd<OwnedFd>,
}

/// Armed even if nothing is due, so that a clock that is set is noticed.
const FAR_AWAY_SECONDS: i64 = 365 * 86_400;

impl WallTimer {
    /// A timer that is not armed. Must be called within the async runtime.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, for as long as it lives.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Self { fd })
    }

    /// Arms the timer for `due`; a time that has passed wakes at once.
    pub fn arm(&self, due: Option<Timestamp>) -> io::Result<()> {
        let due = due.unwrap_or_else(|| Timestamp::now() + jiff::SignedDuration::from_secs(FAR_AWAY_SECONDS));
        let value = Timespec {
            tv_sec: due.as_second().max(0),
            // A value of zero would disarm the timer.
            tv_nsec: i64::from(due.subsec_nanosecond()).max(1) as _,
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(self.fd.get_ref().as_fd(), flags, &spec) {
            // Arming reports a clock that was set before, and arms all the same.
            Ok(_) | Err(Errno::CANCELED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the timer goes off or the clock is set.
    pub async fn wait(&self) -> io::Result<Wake> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut count = [0u8; 8];
            match meaning(rustix::io::read(self.fd.get_ref(), &mut count)) {
                Meaning::Woken(wake) => return Ok(wake),
                Meaning::NotYet => ready.clear_ready(),
                Meaning::Again => {}
                Meaning::Failed(errno) => return Err(errno.into()),
            }
        }
    }
}

/// What a read of the timer says (timerfd_create(2)).
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Woken(Wake),
    NotYet,
    Again,
    Failed(Errno),
}

fn meaning(read: rustix::io::Result<usize>) -> Meaning {
    match read {
        Ok(_) => Meaning::Woken(Wake::Due),
        Err(Errno::CANCELED) => Meaning::Woken(Wake::ClockSet),
        Err(Errno::AGAIN) => Meaning::NotYet,
        Err(Errno::INTR) => Meaning::Again,
        Err(errno) => Meaning::Failed(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn the_timer_wakes_at_its_time_and_at_once_for_one_that_has_passed() {
        let timer = WallTimer::new().unwrap();
        let begun = Instant::now();
        timer.arm(Some(Timestamp::now() + jiff::SignedDuration::from_millis(50))).unwrap();
        assert_eq!(timer.wait().await.unwrap(), Wake::Due);
        assert!(begun.elapsed() >= Duration::from_millis(49));
        timer.arm(Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(timer.wait().await.unwrap(), Wake::Due);
    }

    #[test]
    fn a_read_that_is_cancelled_because_the_clock_was_set_wakes_as_that() {
        assert_eq!(meaning(Err(Errno::CANCELED)), Meaning::Woken(Wake::ClockSet));
        assert_eq!(meaning(Ok(8)), Meaning::Woken(Wake::Due));
        assert_eq!(meaning(Err(Errno::AGAIN)), Meaning::NotYet);
        assert_eq!(meaning(Err(Errno::INTR)), Meaning::Again);
        assert_eq!(meaning(Err(Errno::BADF)), Meaning::Failed(Errno::BADF));
    }

    #[tokio::test]
    async fn the_kernel_has_it_as_an_absolute_wall_clock_timer_that_a_set_clock_cancels() {
        use std::os::fd::AsRawFd;
        let timer = WallTimer::new().unwrap();
        timer.arm(None).unwrap();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.fd.get_ref().as_raw_fd())).unwrap();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // CLOCK_REALTIME; TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET (proc(5), timerfd).
        assert_eq!((field("clockid:"), field("settime flags:")), (Some("0"), Some("03")), "{info}");
    }

    #[tokio::test]
    async fn with_nothing_due_it_sleeps_until_it_is_armed_anew() {
        let timer = WallTimer::new().unwrap();
        timer.arm(None).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(30), timer.wait()).await.is_err());
        timer.arm(Some(Timestamp::now())).unwrap();
        assert_eq!(timer.wait().await.unwrap(), Wake::Due);
    }
}
