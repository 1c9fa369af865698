//! Starting a child in a session of its own, and in whatever else keeps it together and apart: its control group, its limits,
//! its user, its sandbox.
//!
//! The child shares the runner's memory until it executes its program, and the calling thread stands still meanwhile
//! (clone(2) with `CLONE_VM | CLONE_VFORK`, as `posix_spawn` does it): the cost does not grow with the runner's size, and what
//! failed in the child is read from a plain struct. In the child only async-signal-safe calls are made
//! (signal-safety(7)), on a stack of its own, with all signals blocked and the runner's handlers reset. Whatever changes who the
//! child is goes around the C library, which would change all threads of the runner (nptl(7)).

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use super::boot;
use super::exec::Exec;
use super::limits;
use super::sandbox::Sandbox;
use super::users::Identity;
use crate::model::lock;

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
    /// A limit could not be set, the user not be changed, or a wall of the sandbox not be raised.
    Confine(&'static str, io::Error),
    /// The working directory could not be entered.
    Directory(io::Error),
    /// No candidate could be executed.
    Program(io::Error),
}

/// A child that never became its program.
#[derive(Debug)]
pub struct Failed {
    pub error: SpawnError,
    /// It has ended, and whoever was told of this descriptor ([`Confinement::pidfd`]) may be about to use it: its number has to stay
    /// taken until they know better.
    pub pidfd: Option<OwnedFd>,
}

/// What a child knows of itself just before it becomes its program.
#[derive(Debug, Clone, Copy)]
pub struct Newborn {
    pub pid: i32,
    /// In clock ticks since boot; 0 where /proc does not tell.
    pub start_time: u64,
}

/// Kills the child whose descriptor stands there, if there is one. The descriptor must not be closed meanwhile.
pub fn kill(pidfd: &AtomicI32) -> bool {
    let fd = pidfd.load(Ordering::Acquire);
    // SAFETY: a system call without pointers (pidfd_send_signal(2)).
    fd >= 0 && unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, std::ptr::null::<u8>(), 0) } == 0
}

/// What holds of a child besides its program. By default: what holds of the runner itself.
#[derive(Debug, Default)]
pub struct Confinement<'a> {
    /// The directory of the control group that it begins in.
    pub group: Option<BorrowedFd<'a>>,
    /// Resources as setrlimit(2) numbers them, with soft and hard limit alike.
    pub limits: Vec<(libc::__rlimit_resource_t, u64)>,
    /// Added to how nice the runner is.
    pub nice: i32,
    pub umask: Option<u32>,
    pub identity: Option<&'a Identity>,
    pub sandbox: Option<&'a Sandbox>,
    /// Where the child's descriptor is put as soon as there is a child, so that others can end it before it is its program.
    pub pidfd: Option<&'a AtomicI32>,
    /// Programs give no more rights than the child has already (prctl(2), `PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// Also as its program it is killed when the thread that made it ends, as with a runner that is killed: no record tells of it.
    pub ends_with_its_maker: bool,
}

/// The steps of a child, so that the parent knows which one failed.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Setup,
    Confine(&'static str),
    Directory,
    Program,
}

/// close_range(2), Linux 5.11; on older ones only what the runner itself opened stays out.
const CLOSE_RANGE_CLOEXEC: c_uint = 4;
const STACK_SIZE: usize = 64 * 1024;

/// What parent and child share while the parent stands still.
struct Shared<'a, F> {
    argv: *const *const c_char,
    envp: *const *const c_char,
    candidates: &'a [CString],
    instead: Option<(&'a CString, *const *const c_char)>,
    directory: &'a CString,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    open_files: Option<libc::rlimit>,
    confinement: &'a Confinement<'a>,
    /// Whether the child has to go into its group by itself.
    enters_group: bool,
    /// It began with the handlers of signals back at their defaults.
    has_default_handlers: bool,
    /// The runner's process number.
    parent: i32,
    /// When the process was about to be made, in clock ticks since boot.
    about_at: Option<u64>,
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
    confinement: &Confinement<'_>,
    before_exec: F,
) -> Result<Child, Failed> {
    let argv = pointers(&exec.argv);
    let envp = exec.envp.pointers();
    let instead = exec.instead.as_ref().map(|(program, argv)| (program, pointers(argv)));
    let mut shared = Shared {
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        candidates: &exec.candidates,
        instead: instead.as_ref().map(|(program, argv)| (*program, argv.as_ptr())),
        directory: &exec.directory,
        stdin: stdin.as_raw_fd(),
        stdout: stdout.as_raw_fd(),
        stderr: stderr.as_raw_fd(),
        open_files: limits::original_open_files(),
        confinement,
        enters_group: false,
        has_default_handlers: false,
        about_at: None,
        parent: std::process::id() as i32,
        before_exec,
        failed: None,
    };
    let own = AtomicI32::new(-1);
    // The kernel writes it before the child runs.
    let pidfd = confinement.pidfd.unwrap_or(&own).as_ptr();
    let starting = super::orphans::keep_off();
    let pid = with_stack(|stack_top| {
        // SAFETY: the sets are plain memory; `shared`, the stack and `pidfd` outlive the call, because CLONE_VFORK holds
        // this thread until the child has executed its program or ended.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut old = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            shared.about_at = boot::ticks_now();
            let begun = confinement.group.and_then(|group| {
                shared.has_default_handlers = true;
                let pid = clone_into(group, child_main::<F>, stack_top, (&raw mut shared).cast(), pidfd)?;
                Some(if pid < 0 { Err(io::Error::from_raw_os_error(-pid)) } else { Ok(pid) })
            });
            let result = begun.unwrap_or_else(|| {
                shared.enters_group = confinement.group.is_some();
                shared.has_default_handlers = false;
                let pid = libc::clone(
                    child_main::<F>,
                    stack_top,
                    libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
                    (&raw mut shared).cast(),
                    pidfd,
                );
                if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
            });
            libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
            result
        }
    });
    let pid = pid.map_err(|error| Failed { error: SpawnError::Process(error), pidfd: None })?;
    super::orphans::is_own(pid);
    drop(starting);
    // SAFETY: clone wrote a new descriptor that nobody else has.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd.read()) };
    // The child wrote it through a pointer that the compiler does not follow across the call.
    let failed = unsafe { std::ptr::read_volatile(&raw const shared.failed) };
    match failed {
        None => Ok(Child { pid, pidfd }),
        Some((step, errno)) => {
            // Gone already: reap it.
            let child = Child { pid, pidfd };
            let _ = super::wait::reap(&child);
            let error = io::Error::from_raw_os_error(errno);
            let error = match step {
                Step::Setup => SpawnError::Setup(error),
                Step::Confine(what) => SpawnError::Confine(what, error),
                Step::Directory => SpawnError::Directory(error),
                Step::Program => SpawnError::Program(error),
            };
            Err(Failed { error, pidfd: Some(child.pidfd) })
        }
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Calls `f` with the top of a stack that is nobody else's meanwhile. There are as many as children are made at once, not one for each thread.
fn with_stack<T>(f: impl FnOnce(*mut c_void) -> T) -> T {
    static FREE: Mutex<Vec<Vec<u128>>> = Mutex::new(Vec::new());
    let free = lock(&FREE).pop();
    let mut stack = free.unwrap_or_else(|| vec![0; STACK_SIZE / size_of::<u128>()]);
    let result = f(stack.as_mut_ptr_range().end.cast());
    lock(&FREE).push(stack);
    result
}

/// The top of a stack that grows downwards.
type StackTop = *mut c_void;

/// Makes a child that is in its control group from its first instant (clone3(2), `CLONE_INTO_CGROUP`, Linux 5.7), so that it
/// never has to be moved, and whose handlers of signals are the defaults (`CLONE_CLEAR_SIGHAND`). Returns its number or the negative error; `None` where the system or the processor has no such call, or
/// refuses it for the group's sake.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_into(
    group: BorrowedFd<'_>,
    child: extern "C" fn(*mut c_void) -> c_int,
    stack_top: StackTop,
    argument: *mut c_void,
    pidfd: *mut c_int,
) -> Option<i32> {
    use std::sync::atomic::AtomicBool;
    /// There is no such call, as an old kernel or a container's filter says.
    static IS_REFUSED: AtomicBool = AtomicBool::new(false);
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    /// Older than the other one.
    const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    if IS_REFUSED.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: all zeros is the structure's own default.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | INTO_CGROUP | CLEAR_SIGHAND;
    args.pidfd = pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.stack = (stack_top as usize - STACK_SIZE) as u64;
    args.stack_size = STACK_SIZE as u64;
    args.cgroup = group.as_raw_fd() as u64;
    let result: i64;
    // SAFETY: the child begins behind the system call with a copy of the registers, on its own stack, and never comes back
    // from `child`; the parent goes on behind it when the child has executed its program or ended.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument,
            in("r13") child,
            out("rcx") _,
            out("r11") _,
        );
    }
    let result = result as i32;
    match refusal(-result) {
        None => Some(result),
        Some(refusal) => {
            if refusal == Refusal::ForGood {
                IS_REFUSED.store(true, Ordering::Relaxed);
            }
            None
        }
    }
}

/// What a child that cannot begin in its group has to do: go into it by itself.
#[derive(Debug, PartialEq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
enum Refusal {
    /// This one: the state of its group may be the cause, or a filter that looks at arguments.
    ThisTime,
    /// This one and all that come.
    ForGood,
}

/// Whether an error of clone3(2) comes from its way to the group; others would come without it, too.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
fn refusal(errno: c_int) -> Option<Refusal> {
    match errno {
        libc::ENOSYS => Some(Refusal::ForGood),
        libc::EINVAL | libc::EPERM | libc::E2BIG | libc::EACCES | libc::EBUSY | libc::ENODEV | libc::EOPNOTSUPP => {
            Some(Refusal::ThisTime)
        }
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_into(
    _: BorrowedFd<'_>,
    _: extern "C" fn(*mut c_void) -> c_int,
    _: StackTop,
    _: *mut c_void,
    _: *mut c_int,
) -> Option<i32> {
    None
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
    let confinement = shared.confinement;
    let confine = |what: &'static str, result: Result<(), c_int>| result.map_err(|errno| (Step::Confine(what), errno));
    // SAFETY: async-signal-safe system calls with pointers that the parent keeps alive.
    unsafe {
        // Whoever lets it go on after this is the runner alone: one that is stopped by its user, or hangs, holds no lock of a runner
        // that was killed, and goes with it. As a program it is found by its record.
        super::lock::close_in_child();
        die_with_parent(shared.parent)?;
        if shared.enters_group {
            confine("its cgroup cannot be entered", enter_group(confinement.group))?;
        }
        check(Step::Setup, libc::setsid())?;
        for (from, to) in [(shared.stdin, 0), (shared.stdout, 1), (shared.stderr, 2)] {
            check(Step::Setup, libc::dup2(from, to))?;
        }
        let newborn = Newborn { pid: libc::getpid(), start_time: own_start_time(shared.about_at) };
        if let Some(sandbox) = confinement.sandbox {
            sandbox.enter().map_err(|(what, errno)| (Step::Confine(what), errno))?;
        }
        if let Some(limit) = shared.open_files {
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
        for (resource, most) in &confinement.limits {
            confine("a limit cannot be set", limits::set(*resource, *most))?;
        }
        if confinement.nice != 0 {
            confine("its niceness cannot be changed", limits::add_niceness(confinement.nice))?;
        }
        if let Some(umask) = confinement.umask {
            libc::umask(umask as libc::mode_t);
        }
        if let Some(identity) = confinement.identity {
            confine("its user cannot be changed", identity.take_on())?;
            // The kernel forgets it with the change.
            die_with_parent(shared.parent)?;
        }
        check(Step::Directory, libc::chdir(shared.directory.as_ptr()))?;
        // Whatever the runner itself was started with: a command gets its three streams and nothing else.
        libc::syscall(libc::SYS_close_range, 3 as c_uint, c_uint::MAX, CLOSE_RANGE_CLOEXEC);
        if confinement.no_new_privs {
            check(Step::Confine("no_new_privs cannot be set"), libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
        if let Some(sandbox) = confinement.sandbox {
            sandbox.seal().map_err(|(what, errno)| (Step::Confine(what), errno))?;
        }
        (shared.before_exec)(newborn);
        if !confinement.ends_with_its_maker {
            libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0);
        }
        reset_signals(shared.has_default_handlers);
        let mut worst = libc::ENOENT;
        for path in shared.candidates {
            libc::execve(path.as_ptr(), shared.argv, shared.envp);
            match errno() {
                // As execvp(3): a directory of PATH without it is passed over, one where it may not be executed is remembered.
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP | libc::ESTALE | libc::ENODEV => {}
                libc::EACCES => worst = libc::EACCES,
                other => {
                    worst = other;
                    break;
                }
            }
        }
        if let Some((program, argv)) = shared.instead {
            libc::execve(program.as_ptr(), argv, shared.envp);
            worst = errno();
        }
        Err((Step::Program, worst))
    }
}

/// Ends this process when the thread that makes it ends, which waits for it as long as it has not become its program.
unsafe fn die_with_parent(parent: i32) -> Result<(), (Step, c_int)> {
    // SAFETY: system calls without pointers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        // Gone already.
        if libc::getppid() != parent { Err((Step::Setup, libc::ESRCH)) } else { Ok(()) }
    }
}

/// The old way, in which a process is moved after it was made.
unsafe fn enter_group(group: Option<BorrowedFd<'_>>) -> Result<(), c_int> {
    let Some(group) = group else { return Ok(()) };
    // SAFETY: async-signal-safe calls with constant texts.
    unsafe {
        let file = libc::openat(group.as_raw_fd(), c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return Err(errno());
        }
        let written = libc::write(file, c"0".as_ptr().cast(), 1);
        let failed = if written < 0 { Err(errno()) } else { Ok(()) };
        libc::close(file);
        failed
    }
}

/// Handlers of the runner must not run in the child, and what the Rust runtime ignores must not stay ignored.
unsafe fn reset_signals(has_default_handlers: bool) {
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
        // What is ignored is ignored by those defaults, too.
        let looked_at: &[c_int] = if has_default_handlers { &[libc::SIGPIPE] } else { &HANDLED };
        for signal in looked_at.iter().copied() {
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

/// When this process began, which was after `about_at`. Where the clock's tick is still the same it needs not be looked up.
unsafe fn own_start_time(about_at: Option<u64>) -> u64 {
    if let Some(tick) = about_at.filter(|before| boot::ticks_now() == Some(*before)) {
        return tick;
    }
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

/// The error of the last system call of this thread.
pub(super) fn errno() -> c_int {
    // SAFETY: the address of this thread's errno; in the child it is the parent's, which stands still.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_of_a_child_that_failed_stays_taken_while_others_may_use_it() {
        let exec = Exec::new(&["/no/such/program".into()], &[], std::path::Path::new("/")).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let (null, told) = (std::os::fd::AsFd::as_fd(&null), AtomicI32::new(-1));
        let confinement = Confinement { pidfd: Some(&told), ..Confinement::default() };
        let failed = spawn(&exec, null, null, null, &confinement, |_| ()).unwrap_err();
        assert!(matches!(failed.error, SpawnError::Program(_)), "{failed:?}");
        assert_eq!(failed.pidfd.map(|pidfd| pidfd.as_raw_fd()), Some(told.load(Ordering::Relaxed)));
        assert!(!kill(&told), "nobody is there any more");
    }

    #[test]
    fn only_a_call_that_is_not_there_is_not_tried_again() {
        assert_eq!(refusal(libc::ENOSYS), Some(Refusal::ForGood));
        for errno in [libc::EINVAL, libc::EPERM, libc::EACCES, libc::EBUSY, libc::ENODEV, libc::EOPNOTSUPP] {
            assert_eq!(refusal(errno), Some(Refusal::ThisTime), "{errno}");
        }
        for errno in [libc::EAGAIN, libc::ENOMEM, -7] {
            assert_eq!(refusal(errno), None, "{errno}");
        }
    }
}
