//! Starting a child in a session of its own.
//!
//! The child shares the runner's memory until it executes its program, and the calling thread stands still meanwhile
//! (clone(2) with `CLONE_VM | CLONE_VFORK`, as `posix_spawn` does it): the cost does not grow with the runner's size, and what
//! failed in the child is read from a plain struct. In the child only async-signal-safe calls are made
//! (signal-safety(7)), on a stack of its own, with all signals blocked and the runner's handlers reset.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::boot;
use super::exec::Exec;
use super::limits;

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    /// Also the id of its session and of its process group.
    pub pid: i32,
    /// Readable once the child has ended (pidfd_open(2)).
    pub pidfd: OwnedFd,
}

/// Where a child came to grief before its program ran.
#[derive(Debug)]
pub enum SpawnError {
    /// No process could be made.
    Process(io::Error),
    /// A step of making the session or the streams ready failed.
    Setup(io::Error),
    /// The working directory could not be entered.
    Directory(io::Error),
    /// No candidate could be executed.
    Program(io::Error),
}

/// What a child knows of itself just before it becomes its program.
#[derive(Debug, Clone, Copy)]
pub struct Newborn {
    pub pid: i32,
    /// In clock ticks since boot; 0 where /proc does not tell.
    pub start_time: u64,
}

/// The steps of a child, so that the parent knows which one failed.
#[derive(Clone, Copy, PartialEq)]
#[repr(i32)]
enum Step {
    Setup = 1,
    Directory = 2,
    Program = 3,
}

/// close_range(2), Linux 5.11; on older ones only what the runner itself opened stays out.
const CLOSE_RANGE_CLOEXEC: c_uint = 4;
const STACK_SIZE: usize = 64 * 1024;

/// What parent and child share while the parent stands still.
struct Shared<'a, F> {
    argv: *const *const c_char,
    envp: *const *const c_char,
    candidates: &'a [CString],
    directory: &'a CString,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    open_files: Option<libc::rlimit>,
    before_exec: F,
    failed: Option<(Step, c_int)>,
}

/// Starts `exec` as the leader of a new session, with the given streams.
///
/// `before_exec` is called in the child when everything but the execution has worked. It runs in the runner's memory while
/// other threads go on: it must allocate nothing, lock nothing and make only async-signal-safe calls.
///
/// # Errors
/// See [`SpawnError`]; no child is left then.
pub fn spawn<F: FnMut(Newborn)>(
    exec: &Exec,
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    before_exec: F,
) -> Result<Child, SpawnError> {
    let argv = pointers(&exec.argv);
    let envp = pointers(&exec.envp);
    let mut shared = Shared {
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        candidates: &exec.candidates,
        directory: &exec.directory,
        stdin: stdin.as_raw_fd(),
        stdout: stdout.as_raw_fd(),
        stderr: stderr.as_raw_fd(),
        open_files: limits::original_open_files(),
        before_exec,
        failed: None,
    };
    let mut pidfd: c_int = -1;
    let starting = super::orphans::keep_off();
    let pid = with_stack(|stack_top| {
        // SAFETY: the sets are plain memory; `shared`, the stack and `pidfd` outlive the call, because CLONE_VFORK holds
        // this thread until the child has executed its program or ended.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut old = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            let pid = libc::clone(
                child_main::<F>,
                stack_top,
                libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
                (&raw mut shared).cast(),
                &raw mut pidfd,
            );
            let result = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
            libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
            result
        }
    });
    let pid = pid.map_err(SpawnError::Process)?;
    super::orphans::is_own(pid);
    drop(starting);
    // SAFETY: clone wrote a new descriptor that nobody else has.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // The child wrote it through a pointer that the compiler does not follow across the call.
    let failed = unsafe { std::ptr::read_volatile(&raw const shared.failed) };
    match failed {
        None => Ok(Child { pid, pidfd }),
        Some((step, errno)) => {
            // Gone already: reap it.
            let _ = super::wait::reap(&Child { pid, pidfd });
            let error = io::Error::from_raw_os_error(errno);
            Err(match step {
                Step::Setup => SpawnError::Setup(error),
                Step::Directory => SpawnError::Directory(error),
                Step::Program => SpawnError::Program(error),
            })
        }
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Calls `f` with the top of a stack that is this thread's own, made once.
fn with_stack<T>(f: impl FnOnce(*mut c_void) -> T) -> T {
    thread_local! {
        static STACK: RefCell<Vec<u128>> = RefCell::new(vec![0; STACK_SIZE / size_of::<u128>()]);
    }
    STACK.with_borrow_mut(|stack| f(stack.as_mut_ptr_range().end.cast()))
}

extern "C" fn child_main<F: FnMut(Newborn)>(shared: *mut c_void) -> c_int {
    // SAFETY: the parent passed a `Shared<F>` and stands still.
    let shared = unsafe { &mut *shared.cast::<Shared<'_, F>>() };
    if let Err(failed) = unsafe { become_program(shared) } {
        unsafe { std::ptr::write_volatile(&raw mut shared.failed, Some(failed)) };
    }
    // SAFETY: ends this process alone; no destructor of the runner may run in it.
    unsafe { libc::_exit(127) }
}

/// Does not come back if the program could be executed.
unsafe fn become_program<F: FnMut(Newborn)>(shared: &mut Shared<'_, F>) -> Result<(), (Step, c_int)> {
    let check = |step: Step, result: c_int| if result < 0 { Err((step, errno())) } else { Ok(result) };
    // SAFETY: async-signal-safe system calls with pointers that the parent keeps alive.
    unsafe {
        check(Step::Setup, libc::setsid())?;
        for (from, to) in [(shared.stdin, 0), (shared.stdout, 1), (shared.stderr, 2)] {
            check(Step::Setup, libc::dup2(from, to))?;
        }
        if let Some(limit) = shared.open_files {
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
        check(Step::Directory, libc::chdir(shared.directory.as_ptr()))?;
        // Whatever the runner itself was started with: a command gets its three streams and nothing else.
        libc::syscall(libc::SYS_close_range, 3 as c_uint, c_uint::MAX, CLOSE_RANGE_CLOEXEC);
        let newborn = Newborn { pid: libc::getpid(), start_time: own_start_time() };
        (shared.before_exec)(newborn);
        reset_signals();
        let mut worst = libc::ENOENT;
        for path in shared.candidates {
            libc::execve(path.as_ptr(), shared.argv, shared.envp);
            match errno() {
                // As execvp(3): a directory of PATH without it is passed over, one where it may not be executed is remembered.
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP | libc::ESTALE | libc::ENODEV => {}
                libc::EACCES => worst = libc::EACCES,
                other => return Err((Step::Program, other)),
            }
        }
        Err((Step::Program, worst))
    }
}

/// Handlers of the runner must not run in the child, and what the Rust runtime ignores must not stay ignored.
unsafe fn reset_signals() {
    const HANDLED: [c_int; 9] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
    ];
    // SAFETY: plain memory and async-signal-safe calls.
    unsafe {
        for signal in HANDLED {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            if signal == libc::SIGPIPE || action.sa_sigaction > libc::SIG_IGN {
                action = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

unsafe fn own_start_time() -> u64 {
    let mut buffer = [0u8; 512];
    // SAFETY: async-signal-safe calls on a buffer of this frame.
    let length = unsafe {
        let fd = libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return 0;
        }
        let length = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
        length
    };
    buffer.get(..usize::try_from(length).unwrap_or(0)).and_then(boot::parse_start_time).unwrap_or(0)
}

fn errno() -> c_int {
    // SAFETY: the address of this thread's errno; in the child it is the parent's, which stands still.
    unsafe { *libc::__errno_location() }
}
