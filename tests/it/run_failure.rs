//! A command that cannot run says why and how to mend it, and is told apart from one that ran badly.

use runner::model::Status;
use runner::run::Plan;

use crate::run_support::{Bench, script, text};

fn without_directory(text: String, bench: &Bench) -> String {
    text.replace(bench.directory.path().to_str().unwrap(), "DIR")
}

#[track_caller]
fn refused(argv: &[&str], message: &str, prepare: impl FnOnce(&Bench)) {
    let bench = Bench::program(argv);
    prepare(&bench);
    assert_eq!(without_directory(bench.refusal(), &bench), message);
}

#[test]
fn a_command_that_is_not_found_is_named_with_where_it_was_looked_for() {
    refused(&["no-such-command"], "command not found: `no-such-command` is in no directory of PATH", |_| {});
    refused(&["/no/such/command"], "command not found: `/no/such/command` does not exist", |_| {});
    refused(&["./job.sh"], "command not found: `./job.sh` does not exist, as seen from DIR", |_| {});
    refused(&["file/job.sh"], "command not found: `file/job.sh` does not exist, as seen from DIR", |bench| {
        std::fs::write(bench.path("file"), "").unwrap();
    });
}

#[test]
fn a_file_that_is_no_program_says_what_it_lacks() {
    refused(&["./job.sh"], "`./job.sh` is not executable; `chmod +x ./job.sh` makes it so", |bench| {
        script(&bench.path("job.sh"), "#!/bin/sh\n", 0o644);
    });
    refused(&["./folder"], "`./folder` is a directory, not a program", |bench| {
        std::fs::create_dir(bench.path("folder")).unwrap();
    });
    refused(&["./job.sh"], "`./job.sh` is not a program: a script needs a first line such as `#!/bin/sh`", |bench| {
        script(&bench.path("job.sh"), "echo hello\n", 0o755);
    });
    refused(&["./job.sh"], "`./job.sh` cannot be run: its interpreter `/no/such/python` was not found", |bench| {
        script(&bench.path("job.sh"), "#!/no/such/python -u\n", 0o755);
    });
}

#[test]
fn along_path_the_first_program_that_can_run_runs() {
    let mut bench = Bench::program(&["tool"]);
    for folder in ["first", "second", "third"] {
        std::fs::create_dir(bench.path(folder)).unwrap();
    }
    script(&bench.path("second/tool"), "#!/bin/sh\n", 0o644);
    let path = ["none", "first", "second"].map(|folder| bench.path(folder).display().to_string()).join(":");
    bench.plan.env = vec![(text("PATH"), text(path.clone()))];
    assert_eq!(bench.refusal(), "`tool` was found along PATH but is not executable");
    script(&bench.path("third/tool"), "#!/bin/sh\necho third\n", 0o755);
    bench.plan.env = vec![(text("PATH"), text(format!("{path}:{}", bench.path("third").display())))];
    assert_eq!(bench.run().1.out(), "third\n");
    // An empty part of PATH means the working directory.
    script(&bench.path("tool"), "#!/bin/sh\necho here\n", 0o755);
    bench.plan.env = vec![(text("PATH"), text(""))];
    assert_eq!(bench.run().1.out(), "here\n");
    bench.plan.env = vec![];
    bench.plan.argv = vec!["true".into()];
    assert_eq!(bench.run().0.outcome.status, Status::Success, "without a PATH there is a usual one");
}

#[test]
fn a_working_directory_that_cannot_be_entered_says_why() {
    let mut bench = Bench::program(&["true"]);
    bench.plan.directory = bench.path("nowhere");
    assert_eq!(without_directory(bench.refusal(), &bench), "the working directory DIR/nowhere does not exist");
    std::fs::write(bench.path("file"), "").unwrap();
    bench.plan.directory = bench.path("file");
    assert_eq!(without_directory(bench.refusal(), &bench), "the working directory DIR/file is not a directory");
    let long = "x".repeat(300);
    bench.plan.directory = bench.path(&long);
    assert!(bench.refusal().contains("cannot be entered: File name too long"));
}

#[test]
fn a_missing_shell_is_not_taken_for_a_missing_command() {
    let mut bench = Bench::shell("true");
    bench.plan.argv[0] = "/no/such/sh".into();
    let message = "the shell /no/such/sh was not found; write the command as a list to run it without a shell";
    assert_eq!(bench.refusal(), message);
}

#[test]
fn a_nul_character_and_arguments_without_measure_are_refused() {
    refused(&["echo", "a\0b"], "the command holds a NUL character", |_| {});
    let mut bench = Bench::program(&["true"]);
    bench.plan.env.push((text("A"), text("x\0")));
    assert_eq!(bench.refusal(), "the environment variable A holds a NUL character");
    let long = "x".repeat(3_000_000);
    refused(&["echo", &long], "the arguments and the environment together are too long for the system", |_| {});
}

#[test]
fn a_program_that_is_being_written_to_says_so() {
    let bench = Bench::program(&["./tool"]);
    std::fs::copy("/bin/true", bench.path("tool")).unwrap();
    let held = std::fs::File::options().append(true).open(bench.path("tool")).unwrap();
    assert_eq!(bench.refusal(), "`./tool` is still being written to");
    drop(held);
}

#[test]
fn what_the_shell_itself_cannot_find_is_a_bad_exit_with_the_shells_own_words() {
    let (ended, told) = Bench::shell("no-such-command").run();
    assert_eq!((ended.outcome.status, ended.outcome.exit_code), (Status::Failed, Some(127)));
    assert!(String::from_utf8(told.err).unwrap().contains("no-such-command"));
}

#[test]
fn a_plan_is_shown_with_all_that_it_holds() {
    let Plan { argv, through_shell, .. } = Bench::shell("true").plan;
    assert_eq!((argv.len(), through_shell), (3, true));
}
