//! `runner.log`: what the runner itself did. Lines come through `tracing`, are formatted here, and leave the hot path by
//! `tracing-appender`'s thread into a rotating writer that counts what could not be written.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::appender::Appender;
use super::common::{Settings, Synced};
use crate::model::{lock, rfc3339, safe, safe_json};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What can be changed while the runner runs, and what it has to say.
#[derive(Debug)]
pub struct Control {
    level: AtomicU8,
    rotation: Mutex<Settings>,
    lost_lines: AtomicU64,
    /// Why lines are perhaps not on the disk, though they were written.
    not_synced: Mutex<Option<io::Error>>,
    /// Others moved or deleted the log while it was in use.
    taken_away: AtomicBool,
    /// Lines that came faster than they could be taken to the writer.
    dropped: Mutex<Option<ErrorCounter>>,
    dropped_said: AtomicU64,
    echoes: AtomicBool,
}

impl Control {
    pub fn new(level: Level, rotation: Settings) -> Arc<Self> {
        Arc::new(Self {
            level: AtomicU8::new(rank(level)),
            rotation: Mutex::new(rotation),
            lost_lines: AtomicU64::new(0),
            not_synced: Mutex::new(None),
            taken_away: AtomicBool::new(false),
            dropped: Mutex::new(None),
            dropped_said: AtomicU64::new(0),
            echoes: AtomicBool::new(true),
        })
    }

    pub fn set(&self, level: Level, rotation: Settings) {
        self.level.store(rank(level), Ordering::Relaxed);
        *lock(&self.rotation) = rotation;
    }

    /// From now on lines go to the file alone.
    pub fn end_echo(&self) {
        self.echoes.store(false, Ordering::Relaxed);
    }

    /// Why the last lines are perhaps not on the disk, if anything went wrong since the last call.
    pub fn take_not_synced(&self) -> Option<io::Error> {
        lock(&self.not_synced).take()
    }

    /// Whether others have moved or deleted the log since the last call.
    pub fn take_taken_away(&self) -> bool {
        self.taken_away.swap(false, Ordering::Relaxed)
    }

    /// Lines that could not be written since the last call.
    pub fn take_lost(&self) -> u64 {
        let dropped = lock(&self.dropped).as_ref().map_or(0, ErrorCounter::dropped_lines) as u64;
        let said = self.dropped_said.swap(dropped, Ordering::Relaxed);
        self.lost_lines.swap(0, Ordering::Relaxed) + dropped.saturating_sub(said)
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Sends every line to `file`, and to standard error if `echo` says how it is to be coloured.
pub fn subscriber(
    file: PathBuf,
    format: Format,
    control: Arc<Control>,
    echo: Option<anstream::ColorChoice>,
) -> (impl Subscriber + Send + Sync, Guard) {
    let mut file = Appender::new(file);
    // Opened before the rest of the start takes descriptors: where they run out, the log can still say so. One that cannot be
    // opened is tried again at each line, and what is lost is counted.
    let _ = file.current();
    let writer = RotatingWriter { file, control: control.clone() };
    // A disk that hangs must not hold up who logs: beyond the queue lines are dropped, and counted.
    let (file, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MOST_LINES_ON_THEIR_WAY)
        .thread_name("runner-log")
        .finish(writer);
    *lock(&control.dropped) = Some(file.error_counter());
    // Likewise a terminal or a pipe that nobody reads.
    let echo = echo.map(|colour| {
        let stderr = anstream::AutoStream::new(io::stderr(), colour);
        NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MOST_LINES_ON_THEIR_WAY)
            .thread_name("runner-echo")
            .finish(stderr)
    });
    let (echo, echo_guard) = echo.unzip();
    (tracing_subscriber::registry().with(Lines { file, echo, format, control }), Guard(guard, echo_guard))
}

/// The queue's room is taken at once.
const MOST_LINES_ON_THEIR_WAY: usize = 16 * 1024;

/// What is still on its way is written when this is dropped.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code)] WorkerGuard, #[expect(dead_code)] Option<WorkerGuard>);

struct RotatingWriter {
    file: Appender,
    control: Arc<Control>,
}

impl Write for RotatingWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let settings = *lock(&self.control.rotation);
        let directory = super::commit::parent(self.file.path());
        let synced_below = (settings.synced == Synced::Everything).then_some(directory.as_path());
        let length = self.file.current().map(|(_, length)| length);
        let written = length.and_then(|before| {
            if before > 0 && before + line.len() as u64 > settings.max_size {
                let _ = self.file.commit().commit();
                self.file.rotate(settings.max_files)?;
                return self.file.append(line, synced_below);
            }
            self.file.append_behind(before, line, synced_below)
        });
        if self.file.was_taken_away() {
            self.control.taken_away.store(true, Ordering::Relaxed);
        }
        if written.is_err() {
            self.control.lost_lines.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    /// Called when no more lines are on their way: one call to the disk does for all of them.
    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.commit().commit() {
            *lock(&self.control.not_synced) = Some(error);
        }
        Ok(())
    }
}

struct Lines {
    file: NonBlocking,
    echo: Option<NonBlocking>,
    format: Format,
    control: Arc<Control>,
}

/// Only what the runner itself says is logged, not what its libraries do: the runner's targets are plain words.
fn is_ours(target: &str) -> bool {
    !target.contains("::") && !target.is_empty()
}

impl<S: Subscriber> Layer<S> for Lines {
    /// Asked again for each line: the level can change while the runner runs.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata.target()) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(metadata.target()) && rank(*metadata.level()) <= self.control.level.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let time = rfc3339(Timestamp::now());
        let (level, component) = (*event.metadata().level(), event.metadata().target());
        let line = match self.format {
            Format::Text => {
                let mut fields = Fields::default();
                event.record(&mut fields);
                fields.text(&time, level, component)
            }
            Format::Json => {
                let mut fields = Fields::default();
                event.record(&mut fields);
                fields.json(&time, level, component)
            }
        };
        let _ = self.file.clone().write_all(line.as_bytes());
        if let Some(echo) = &self.echo
            && self.control.echoes.load(Ordering::Relaxed)
        {
            let style = match level {
                Level::ERROR => "\x1b[31m",
                Level::WARN => "\x1b[33m",
                _ => "",
            };
            let reset = if style.is_empty() { "" } else { "\x1b[0m" };
            let line = format!("{style}{}{reset}\n", line.trim_end_matches('\n'));
            let _ = echo.clone().write_all(line.as_bytes());
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, serde_json::Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}").into()));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.others.push((field.name(), value.into()));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }
}

impl Fields {
    /// `TIME LEVEL component: message key=value`, on one line whatever the message holds.
    fn text(self, time: &str, level: Level, component: &str) -> String {
        let mut line = format!("{time} {level:<5} {component}: {}", safe(&self.message).replace('\t', "\\t"));
        for (key, value) in self.others {
            match value {
                serde_json::Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '\n', '=']) => {
                    let _ = write!(line, " {key}={}", safe(&text));
                }
                other => {
                    let _ = write!(line, " {key}={}", safe_json(&other.to_string()));
                }
            }
        }
        line.push('\n');
        line
    }

    fn json(self, time: &str, level: Level, component: &str) -> String {
        let mut map = serde_json::Map::new();
        map.insert("time".into(), time.into());
        map.insert("level".into(), level.as_str().to_lowercase().into());
        map.insert("component".into(), component.into());
        map.insert("message".into(), self.message.into());
        for (key, value) in self.others {
            map.insert(key.into(), value);
        }
        let line = serde_json::Value::Object(map).to_string();
        format!("{}\n", safe_json(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: Format, max_size: u64, say: impl FnOnce()) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.log");
        let control = Control::new(Level::INFO, Settings { max_size, max_files: 2, synced: Synced::Nothing });
        let (subscriber, guard) = subscriber(path.clone(), format, control, None);
        tracing::subscriber::with_default(subscriber, say);
        drop(guard);
        let text = std::fs::read_to_string(path).unwrap();
        (dir, text)
    }

    #[test]
    fn a_line_has_time_level_component_and_message_and_stays_one_line() {
        let (_dir, text) = logged(Format::Text, 1 << 20, || {
            tracing::info!(target: "engine", job = "a b\u{9b}", n = 3, "started\n\x1b[31mred\t\u{202e}");
            tracing::debug!(target: "engine", "not shown");
            tracing::info!(target: "some::library", "not shown");
        });
        let (time, rest) = text.split_at(24);
        assert!(time.ends_with('Z'), "{time}");
        assert_eq!(rest, " INFO  engine: started\\n\\u{1b}[31mred\\t\\u{202e} job=\"a b\\u009b\" n=3\n");
    }

    #[test]
    fn json_lines_parse() {
        let (_dir, text) = logged(Format::Json, 1 << 20, || tracing::warn!(target: "run", job = "x", "a \"b\""));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["level"], &value["component"]), (&"warn".into(), &"run".into()));
        assert_eq!((&value["message"], &value["job"]), (&"a \"b\"".into(), &"x".into()));
    }

    #[test]
    fn every_field_is_shown_and_the_level_can_be_changed_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runner.log");
        let settings = Settings { max_size: 1 << 20, max_files: 2, synced: Synced::Nothing };
        let control = Control::new(Level::ERROR, settings);
        let (subscriber, guard) = subscriber(path.clone(), Format::Text, control.clone(), None);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "run", "not shown");
            control.set(Level::TRACE, settings);
            tracing::trace!(target: "run", a = 1u64, b = -1i64, c = true, d = "plain", e = ?Some(1), f = %"x=y", "shown");
            tracing::error!(target: "run", message = "by name");
        });
        drop(guard);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| &line[25..]).collect();
        assert_eq!(lines, ["TRACE run: shown a=1 b=-1 c=true d=plain e=Some(1) f=\"x=y\"", "ERROR run: by name"]);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::new(Level::INFO, Settings { max_size: 1 << 20, max_files: 2, synced: Synced::Nothing });
        // A folder stands where the log has to be.
        let (subscriber, guard) = subscriber(dir.path().into(), Format::Text, control.clone(), None);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                tracing::info!(target: "run", "a line");
            }
        });
        drop(guard);
        assert_eq!(control.take_lost(), 3);
        assert_eq!(control.take_lost(), 0);
    }

    #[test]
    fn every_line_is_synced_where_that_was_asked_for() {
        for (synced, is_synced) in [(Synced::Runs, false), (Synced::Everything, true)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("runner.log");
            // It can be written to, and not be synced.
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
            let control = Control::new(Level::INFO, Settings { max_size: 1 << 20, max_files: 2, synced });
            let (subscriber, guard) = subscriber(path, Format::Text, control.clone(), None);
            tracing::subscriber::with_default(subscriber, || tracing::info!(target: "run", "a line"));
            drop(guard);
            assert_eq!(control.take_not_synced().is_some(), is_synced, "{synced:?}");
            assert!(!control.take_taken_away());
        }
    }

    #[test]
    fn lines_are_rotated_whole() {
        let (dir, _) = logged(Format::Text, 500, || {
            for n in 0..40 {
                tracing::info!(target: "run", n, "a line");
            }
        });
        let mut all = String::new();
        let path = dir.path().join("runner.log");
        for file in super::super::rotate::find(&path).unwrap().iter().rev() {
            let file = super::super::rotate::open(&path, file.identity).unwrap().unwrap();
            let text = io::read_to_string(file).unwrap();
            assert!(text.len() <= 500 && text.ends_with('\n'));
            all.push_str(&text);
        }
        assert!(all.lines().all(|line| line.contains("run: a line n=")));
        assert!(all.ends_with("n=39\n"));
    }
}
