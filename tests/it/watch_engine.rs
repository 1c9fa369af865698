//! Runs of watches as the engine decides them: files wait in a ledger, and a run begins whenever its job has room.

use runner::engine::{Backlog, Event};
use runner::model::{JobName, Status};

use crate::engine_sim::{Sim, at, job};

const WATCH: &str = "watch: { paths: [in] }\ncommand: [x, '{path}']\n";

fn watch(more: &str) -> Sim {
    let (sim, said) = Sim::started("10:00:00", &[("w", &format!("{WATCH}{more}"))]);
    assert_eq!(said, [""; 0]);
    sim
}

fn backlog(sim: &mut Sim, runs: u64) -> Vec<String> {
    let since = at("09:59:59");
    sim.tell(Event::Backlog { job: JobName::new("w").unwrap(), backlog: Backlog { runs, since, replaces: true } })
}

#[test]
fn one_run_after_another_begins_as_long_as_there_are_files() {
    let mut sim = watch("");
    assert_eq!(backlog(&mut sim, 3), ["w WATCH 09:59:59"]);
    assert_eq!(backlog(&mut sim, 2), [""; 0], "the others wait in the ledger, not in a queue");
    assert_eq!(sim.end("w"), ["w WATCH 09:59:59"]);
    assert_eq!(sim.end_as("w", Status::Failed), ["w WATCH 09:59:59"], "a failure does not block the others");
    assert_eq!(sim.end("w"), [""; 0]);
    assert_eq!(backlog(&mut sim, 0), [""; 0]);
}

#[test]
fn as_many_as_may_be_begin_at_once_and_nothing_is_recorded_of_those_that_wait() {
    let mut sim = watch("max_instances: 3\n");
    assert_eq!(backlog(&mut sim, 5).len(), 3);
    assert_eq!((sim.active.len(), sim.engine.waiting()), (3, 0));
    assert_eq!(sim.end("w").len(), 1);
    let mut sim = watch("overlap: allow\n");
    assert_eq!(backlog(&mut sim, 80).len(), 64, "as long as there are places");
    assert_eq!(sim.engine.waiting(), 1, "and no more than one waits for another place");
    assert_eq!(sim.end("w").len(), 1);
}

#[test]
fn files_wait_for_the_end_of_a_pause_a_blackout_and_a_cooldown() {
    let mut sim = watch("");
    sim.pause("w", None);
    assert_eq!(backlog(&mut sim, 1), [""; 0]);
    assert_eq!(sim.resume("w"), ["w WATCH 09:59:59"]);
    let mut sim = watch("");
    sim.pause("w", Some("10:30:00"));
    assert_eq!(backlog(&mut sim, 1), [""; 0]);
    assert_eq!(sim.until("10:29:59"), [""; 0]);
    assert_eq!(sim.until("10:31:00"), ["w resumed", "w WATCH 09:59:59"]);
    let mut sim = watch("blackout: [{ from: '10:00', to: '12:00' }]\n");
    assert_eq!(backlog(&mut sim, 1), [""; 0]);
    assert_eq!(sim.until("11:59:59"), [""; 0]);
    assert_eq!(sim.until("12:00:00"), ["w WATCH 09:59:59"]);
    let mut sim = watch("breaker: { after: 1, cooldown: 5m }\n");
    assert_eq!(backlog(&mut sim, 9).len(), 1);
    assert_eq!(sim.end_as("w", Status::Failed), ["w breaker open after 1 until 10:05:00"]);
    assert_eq!(sim.until("10:04:59"), [""; 0]);
    assert_eq!(sim.until("10:05:00"), ["w WATCH 09:59:59"], "one run shows whether the job works again");
    assert_eq!(sim.end("w"), ["w breaker closed", "w WATCH 09:59:59"]);
}

#[test]
fn overlap_says_what_becomes_of_files_while_a_run_is_active() {
    let mut sim = watch("overlap: skip\n");
    assert_eq!(backlog(&mut sim, 1).len(), 1);
    assert_eq!(backlog(&mut sim, 1), ["w passed over 09:59:59"]);
    assert_eq!(sim.end("w"), [""; 0]);
    let mut sim = watch("overlap: replace\n");
    assert_eq!(backlog(&mut sim, 1).len(), 1);
    let full = Backlog { runs: 1, since: at("09:59:59"), replaces: false };
    assert_eq!(
        sim.tell(Event::Backlog { job: JobName::new("w").unwrap(), backlog: full }),
        [""; 0],
        "it would have no more"
    );
    assert_eq!(backlog(&mut sim, 1), ["end a run: replaced by run RUN"]);
    assert_eq!(backlog(&mut sim, 1), [""; 0], "once is enough");
    assert_eq!(sim.end_as("w", Status::Cancelled), ["w WATCH 09:59:59"]);
}

#[test]
fn a_run_whose_files_are_gone_never_was() {
    let mut sim = watch("");
    assert_eq!(backlog(&mut sim, 2).len(), 1);
    let (run, _) = sim.active.remove(0);
    assert_eq!(sim.tell(Event::Withdraw { run }), ["w WATCH 09:59:59"], "its place is free for the next one");
    let (run, _) = sim.active.remove(0);
    assert_eq!(sim.tell(Event::Withdraw { run }), [""; 0]);
    assert_eq!(sim.tell(Event::Withdraw { run }), [""; 0]);
    assert_eq!(backlog(&mut sim, 1).len(), 1);
}

#[test]
fn what_waits_is_recorded_nowhere_when_the_runner_stops_or_the_job_goes() {
    let mut sim = Sim::new("10:00:00", 1);
    let other = job("other", "manual: true\ncommand: x\n", at("10:00:00"));
    sim.load(vec![other, job("w", WATCH, at("10:00:00"))], Some(runner::engine::Starting { down_since: None }));
    sim.ask("other");
    assert_eq!(backlog(&mut sim, 4), [""; 0], "it waits for a place");
    assert_eq!(sim.engine.waiting(), 1);
    assert_eq!(sim.tell(Event::Stop), [""; 0], "the files are for the next start");
    let mut sim = watch("");
    assert_eq!(backlog(&mut sim, 4).len(), 1);
    sim.remove("w");
    assert_eq!(sim.end("w"), [""; 0]);
    assert_eq!(backlog(&mut sim, 4), [""; 0], "of a job that is gone nothing is to be had");
}

#[test]
fn a_person_cannot_run_it_without_a_file_that_its_command_needs() {
    let mut sim = watch("");
    let said = sim.ask("w");
    assert_eq!(
        said,
        [
            "refused: its command has `{path}`, so it needs a file; `runner watch replay w FILE` runs it for one that the watch knows"
        ]
    );
    let (mut sim, _) = Sim::started("10:00:00", &[("w", "watch: { paths: [in] }\ncommand: [x]\n")]);
    assert_eq!(sim.ask("w"), ["accepted", "w MANUAL 10:00:00"]);
}
