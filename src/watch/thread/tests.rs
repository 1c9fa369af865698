//! Threads of watches, with everything that they touch but the daemon.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32};

use super::*;
use crate::model::JobName;
use crate::os::eventually::wait_for;
use crate::os::file_events::{Hub, What};
use crate::watch::live::Live;
use crate::watch::rules::tests::files;
use crate::watch::settling::FOUND;
use crate::watch::watcher::Answer;
use crate::watch::{Book, Ledger, Loaded, Root, WatchStatus};

fn setup(dir: &Path) -> Setup {
    let root = dir.canonicalize().unwrap().join("in");
    let files = files(serde_json::json!({ "paths": [root], "settle": "close" }));
    Setup { files, roots: vec![Root { written: "in".into(), path: root }], logs: dir.join("logs") }
}

fn watch_of(dir: &Path, hub: &Hub, tell: impl Fn(&JobName) + Send + 'static) -> Start {
    std::fs::create_dir_all(dir.join("in")).unwrap();
    let (setup, ledger) = (setup(dir), dir.join("ledger.log"));
    let book = Book::new(setup.files.clone(), Loaded::default(), |_| None, &now());
    Start {
        shared: Arc::new(Shared::new(JobName::new("w").unwrap(), book, Ledger::new(ledger.clone()))),
        setup,
        hub: hub.clone(),
        ledger,
        after: None,
        past: Box::new(|_| HashMap::new()),
        tell: Box::new(tell),
    }
}

fn state(shared: &Shared) -> String {
    let files = lock(&shared.book).files().clone();
    WatchStatus::of(shared, &files).state
}

fn is_watching(shared: &Shared) -> bool {
    lock(&shared.health).iter().any(|(_, health)| *health == Health::Events)
}

fn runs(shared: &Shared) -> u64 {
    lock(&shared.book).backlog(&now()).runs
}

#[test]
fn a_thread_that_fails_is_shown_begins_anew_and_costs_no_other_watch_anything() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = Hub::default();
    let (failures, is_mended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, asked) = (failures.clone(), is_mended.clone());
    // It fails each time that it has something to tell.
    let one = watch_of(dir.path(), &hub, move |_| {
        if !asked.load(Ordering::SeqCst) {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("no luck");
        }
    });
    let other = watch_of(other_dir.path(), &hub, |_| {});
    let (shared, other_shared) = (one.shared.clone(), other.shared.clone());
    let (one, other) = (start(one).unwrap(), start(other).unwrap());
    wait_for("both watch", || is_watching(&shared) && is_watching(&other_shared));
    std::fs::write(dir.path().join("in/a"), "x").unwrap();
    wait_for("it has failed", || failures.load(Ordering::SeqCst) > 0);
    wait_for("it is shown with its cause", || {
        state(&shared).contains("unhealthy") && state(&shared).contains("no luck")
    });
    std::fs::write(dir.path().join("in/b"), "x").unwrap();
    std::fs::write(other_dir.path().join("in/c"), "x").unwrap();
    wait_for("the other one goes on", || runs(&other_shared) == 1);
    wait_for("it has begun anew and failed again", || failures.load(Ordering::SeqCst) > 1);
    is_mended.store(true, Ordering::SeqCst);
    wait_for("it watches again", || state(&shared) == "watching");
    wait_for("nothing is lost that came meanwhile", || runs(&shared) == 2);
    std::fs::write(dir.path().join("in/d"), "x").unwrap();
    wait_for("events are told of again", || runs(&shared) == 3);
    for thread in [one, other] {
        thread.sender.send(Message::Stop).unwrap();
        thread.handle.join().unwrap();
    }
}

#[test]
fn a_thread_that_is_busy_is_told_of_so_many_hints_and_that_others_were_lost() {
    let (sender, messages) = channel();
    let queue = Queue::new(sender);
    let hint = |n: usize| Hint::At(format!("/in/{n}").into(), What::Written);
    (0..MOST_WAITING + 50_000).for_each(|n| queue.put(hint(n)));
    let waiting = || {
        messages.try_iter().filter_map(|message| match message {
            Message::Hint(hint) => Some(hint),
            _ => None,
        })
    };
    let all: Vec<Hint> = waiting().collect();
    assert_eq!((all.len(), all.last()), (MOST_WAITING + 1, Some(&Hint::Lost)));
    all.iter().for_each(|hint| queue.taken.take(hint));
    queue.put(hint(7));
    assert_eq!(waiting().collect::<Vec<_>>(), [hint(7)], "it goes on as before");
}

#[test]
fn a_hint_that_is_taken_at_once_does_not_count_as_waiting() {
    const COUNT: usize = 20_000;
    let (sender, messages) = channel();
    let queue = Queue::new(sender);
    let (taken, count) = (queue.taken.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let taking = std::thread::spawn(move || {
        while counted.load(Ordering::Acquire) < COUNT {
            match messages.try_recv() {
                Ok(Message::Hint(hint)) => {
                    taken.take(&hint);
                    counted.fetch_add(1, Ordering::AcqRel);
                }
                _ => std::hint::spin_loop(),
            }
        }
    });
    for n in 1..=COUNT {
        queue.put(Hint::At("/in/a".into(), What::Written));
        // The thread waits for each of them.
        wait_until(|| count.load(Ordering::Acquire) == n);
    }
    taking.join().unwrap();
    assert_eq!(queue.taken.waiting.load(Ordering::Acquire), 0);
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

/// Its writer has it open: that another one is gone from its place says nothing of that.
#[test]
fn what_stands_where_another_one_has_gone_is_not_complete_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, path) = (start_of.shared.clone(), start_of.setup.roots[0].path.join("a"));
    // Nothing is told but what this test tells, as if by events.
    let sender = start_of_silent(&hub, start_of);
    let _writer = std::fs::File::create(&path).unwrap();
    sender.send(Message::Hint(Hint::At(path.clone(), What::Gone))).unwrap();
    let in_a_while = || lock(&shared.book).next_look().is_some_and(|at| at > Instant::now() + Duration::from_secs(1));
    wait_for("it was looked at", || runs(&shared) > 0 || in_a_while());
    assert_eq!(runs(&shared), 0, "it is written to still");
    sender.send(Message::Hint(Hint::At(path, What::Closed))).unwrap();
    wait_for("it is complete", || runs(&shared) == 1);
    sender.send(Message::Stop).unwrap();
}

#[test]
fn a_file_that_a_folder_takes_the_place_of_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
    let sender = start_of_silent(&hub, start_of);
    let tell = |name: &str, what| sender.send(Message::Hint(Hint::At(root.join(name), what))).unwrap();
    std::fs::write(root.join("a"), "x").unwrap();
    tell("a", What::Closed);
    wait_for("it is complete", || runs(&shared) == 1);
    std::fs::remove_file(root.join("a")).unwrap();
    std::fs::create_dir(root.join("a")).unwrap();
    std::fs::write(root.join("b"), "x").unwrap();
    // That it went is told of together with what came, and that alone counts.
    tell("a", What::Directory);
    tell("b", What::Closed);
    let is_known = |name: &str| lock(&shared.book).entries().by_path(&root.join(name)).is_some();
    wait_for("both were looked at", || is_known("b"));
    assert!(!is_known("a"));
    sender.send(Message::Stop).unwrap();
}

/// A thread that no event reaches.
fn start_of_silent(hub: &Hub, start_of: Start) -> Sender<Message> {
    hub.has_room_for(Some(0));
    let shared = start_of.shared.clone();
    let thread = start(start_of).unwrap();
    wait_for("it watches", || lock(&shared.health).iter().any(|(_, health)| matches!(health, Health::Polling(_))));
    thread.sender
}

/// What is told while the thread is busy with something else: it takes all of that up at once.
fn while_busy(sender: &Sender<Message>, happens: impl FnOnce()) {
    let ((is_busy, busy), (go, goes)) = (channel(), channel::<()>());
    let answer = Answer(Box::new(move |_| {
        is_busy.send(()).unwrap();
        let _ = goes.recv();
    }));
    sender.send(Message::Replay { selection: Box::default(), dry_run: true, answer }).unwrap();
    busy.recv().unwrap();
    happens();
    drop(go);
}

/// The kernel told that it was made, and lost count then: its closing may be among what is lost.
#[test]
fn what_was_told_of_just_before_the_kernel_lost_count_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    // Nothing is told but what this test tells.
    hub.has_room_for(Some(0));
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, path) = (start_of.shared.clone(), start_of.setup.roots[0].path.join("a"));
    let thread = start(start_of).unwrap();
    wait_for("it watches", || lock(&shared.health).iter().any(|(_, health)| matches!(health, Health::Polling(_))));
    std::fs::write(&path, "x").unwrap();
    while_busy(&thread.sender, || {
        thread.sender.send(Message::Hint(Hint::At(path, What::Made))).unwrap();
        thread.sender.send(Message::Hint(Hint::Lost)).unwrap();
    });
    wait_for("it is complete", || runs(&shared) == 1);
    thread.sender.send(Message::Stop).unwrap();
    thread.handle.join().unwrap();
}

/// One who has the folder under another path lets go of it, and the closing falls into that moment.
#[test]
fn what_somebody_had_open_before_a_gap_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
    std::fs::create_dir(root.join("sub")).unwrap();
    let thread = start(start_of).unwrap();
    wait_for("it watches", || is_watching(&shared));
    // Its first look is over then: what comes from here on is told of.
    std::fs::write(root.join("sub/first"), "x").unwrap();
    wait_for("it is complete", || runs(&shared) == 1);
    for (count, folder) in (2..).zip([root.clone(), root.join("sub")]) {
        let writer = std::fs::File::create(folder.join("a")).unwrap();
        let next_look = || lock(&shared.book).next_look();
        wait_for("its closing is waited for", || next_look().is_some_and(|at| at > Instant::now() + 10 * FOUND));
        hub.has_gap(&folder, || drop(writer));
        wait_for("it is complete", || runs(&shared) == count);
    }
    thread.sender.send(Message::Stop).unwrap();
}

/// A job is edited, or switched off for a moment: nobody is told of a closing in between.
#[test]
fn what_somebody_had_open_when_the_watch_began_anew_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
    let thread = start(start_of).unwrap();
    wait_for("it watches", || is_watching(&shared));
    std::fs::write(root.join("first"), "x").unwrap();
    wait_for("it is complete", || runs(&shared) == 1);
    let writers = ["a", "b"].map(|name| std::fs::File::create(root.join(name)).unwrap());
    let seems_open = || lock(&shared.book).settling().iter().filter(|(_, pending)| pending.is_open).count();
    wait_for("their closing is waited for", || seems_open() == 2);
    thread.sender.send(Message::Stop).unwrap();
    thread.handle.join().unwrap();
    let [closed, open] = writers;
    drop(closed);
    let thread = start(Start { shared: shared.clone(), ..watch_of(dir.path(), &hub, |_| {}) }).unwrap();
    wait_for("what was closed is complete", || runs(&shared) == 2);
    wait_for("it was looked whether the other one is", || seems_open() == 1);
    assert_eq!(runs(&shared), 2, "somebody writes to it");
    drop(open);
    wait_for("its closing is told of", || runs(&shared) == 3);
    thread.sender.send(Message::Stop).unwrap();
}

#[test]
fn what_is_told_around_a_gap_is_not_waited_for_whatever_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
    let (sub, gone) = (root.join("sub"), root.join("sub/gone"));
    std::fs::create_dir(&sub).unwrap();
    let thread = start(start_of).unwrap();
    wait_for("it watches", || is_watching(&shared));
    std::fs::write(&gone, "x").unwrap();
    wait_for("it is complete", || runs(&shared) == 1);
    while_busy(&thread.sender, || {
        let tell = |hint| thread.sender.send(Message::Hint(hint)).unwrap();
        tell(Hint::At(sub.clone(), What::Directory));
        let writer = std::fs::File::create(sub.join("a")).unwrap();
        tell(Hint::At(sub.join("a"), What::Made));
        hub.has_gap(&sub, || {
            drop(writer);
            std::fs::remove_file(&gone).unwrap();
        });
    });
    let is_known = |path: &Path| lock(&shared.book).entries().by_path(path).is_some();
    wait_for("what went meanwhile is forgotten", || !is_known(&gone));
    wait_for("what was closed meanwhile is complete", || is_known(&sub.join("a")) && runs(&shared) == 1);
    thread.sender.send(Message::Stop).unwrap();
}

#[test]
fn a_folder_that_went_is_let_go_of_though_another_one_came_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let start_of = watch_of(dir.path(), &hub, |_| {});
    let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
    let sub = root.join("sub");
    std::fs::create_dir(&sub).unwrap();
    let thread = start(start_of).unwrap();
    wait_for("it watches", || is_watching(&shared));
    std::fs::write(sub.join("a"), "x").unwrap();
    wait_for("it is complete", || runs(&shared) == 1);
    let (told, hints) = channel();
    // It is told after the watch.
    let also = hub.subscribe(move |hint| drop(told.send(hint)));
    also.add(&root.canonicalize().unwrap()).unwrap();
    while_busy(&thread.sender, || {
        std::fs::rename(&sub, dir.path().join("elsewhere")).unwrap();
        std::fs::create_dir(&sub).unwrap();
        let came = |hint: &Hint| matches!(hint, Hint::At(path, What::Directory) if path.ends_with("in/sub"));
        while !came(&hints.recv_timeout(Duration::from_secs(20)).expect("it is told of")) {}
    });
    wait_for("what was in it is gone", || runs(&shared) == 0);
    std::fs::write(sub.join("a"), "x").unwrap();
    wait_for("the new one is watched", || runs(&shared) == 1);
    thread.sender.send(Message::Stop).unwrap();
}

#[test]
fn a_path_that_came_in_a_gap_is_tried_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let Start { shared, setup, .. } = watch_of(dir.path(), &hub, |_| {});
    let root = setup.roots[0].clone();
    let above = root.path.parent().unwrap().canonicalize().unwrap();
    std::fs::remove_dir(&root.path).unwrap();
    let mut live = Live::new(root, hub.subscribe(|_| {}), &now());
    live.open_if_due(&setup, &shared, &now());
    let by_itself = live.deadline();
    live.told_of(&above, What::Touched);
    assert_eq!(live.deadline(), by_itself, "it is tried at its own pace");
    let before = Instant::now();
    live.told_of(&above, What::Gap);
    assert!(live.deadline().is_some_and(|at| (before..=Instant::now()).contains(&at)));
}

#[test]
fn a_thread_that_rests_ends_when_it_is_told_to_and_takes_up_other_rules() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let failing = watch_of(dir.path(), &hub, |_| {});
    let failing = Start { past: Box::new(|_| panic!("never")), tell: Box::new(|_| panic!("always")), ..failing };
    let shared = failing.shared.clone();
    let thread = start(failing).unwrap();
    wait_for("it watches", || is_watching(&shared));
    std::fs::write(dir.path().join("in/a"), "x").unwrap();
    wait_for("it has failed", || state(&shared).contains("always"));
    // Where nothing is watched that is there, nothing is told.
    let elsewhere = Setup { roots: Vec::new(), ..setup(dir.path()) };
    thread.sender.send(Message::Changed(Box::new(elsewhere))).unwrap();
    wait_for("the other rules are in force", || lock(&shared.health).is_empty() || state(&shared).contains("always"));
    thread.sender.send(Message::Stop).unwrap();
    thread.handle.join().unwrap();
}

#[test]
fn a_watch_that_gets_no_thread_is_shown_so_and_keeps_the_one_to_wait_for() {
    let dir = tempfile::tempdir().unwrap();
    let before = std::thread::spawn(|| {});
    let new = Start { after: Some(before), ..watch_of(dir.path(), &Hub::default(), |_| {}) };
    let shared = new.shared.clone();
    let none = without_room(new).unwrap_err();
    assert!(none.after.is_some());
    assert!(state(&shared).contains("in: no thread is left for it: "), "{}", state(&shared));
    assert!(state(&shared).starts_with("unhealthy: "), "{}", state(&shared));
}

#[test]
fn a_watch_waits_for_the_thread_that_had_it_before() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let (go, waits) = channel::<()>();
    let before = std::thread::spawn(move || waits.recv().unwrap());
    let new = Start { after: Some(before), ..watch_of(dir.path(), &hub, |_| {}) };
    let (shared, ledger) = (new.shared.clone(), new.ledger.clone());
    let thread = start(new).unwrap();
    wait_for("it is shown that it waits", || state(&shared).contains("has not ended yet"));
    assert!(!ledger.exists(), "there is one writer");
    go.send(()).unwrap();
    wait_for("it watches", || is_watching(&shared) && ledger.exists());
    thread.sender.send(Message::Stop).unwrap();
    thread.handle.join().unwrap();
}

/// As tar does: it makes the folder, and sets its time when all is in it, which the kernel tells of as a write.
#[test]
fn a_folder_that_came_is_walked_whatever_is_told_of_it_next() {
    for came in [What::Directory, What::MovedIn] {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::default();
        let start_of = watch_of(dir.path(), &hub, |_| {});
        let (shared, root) = (start_of.shared.clone(), start_of.setup.roots[0].path.clone());
        let thread = start(start_of).unwrap();
        wait_for("it watches", || is_watching(&shared));
        let (told, hints) = channel();
        // It is told after the watch.
        let also = hub.subscribe(move |hint| drop(told.send(hint)));
        also.add(&root.canonicalize().unwrap()).unwrap();
        while_busy(&thread.sender, || {
            let elsewhere = dir.path().join("elsewhere");
            std::fs::create_dir(if came == What::Directory { root.join("sub") } else { elsewhere.clone() }).unwrap();
            if came == What::MovedIn {
                std::fs::rename(&elsewhere, root.join("sub")).unwrap();
            }
            std::fs::write(root.join("sub/a"), "x").unwrap();
            let folder = std::fs::File::open(root.join("sub")).unwrap();
            folder.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            let is_last = |hint: &Hint| matches!(hint, Hint::At(path, What::Written) if path.ends_with("in/sub"));
            while !is_last(&hints.recv_timeout(Duration::from_secs(20)).expect("it is told of")) {}
        });
        wait_for("what is in it is complete", || runs(&shared) == 1);
        thread.sender.send(Message::Stop).unwrap();
    }
}
