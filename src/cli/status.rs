use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Verb;
use super::ask::ask;
use super::context::Context;
use super::error::CliError;
use super::output::{local, print, print_json, safe};
use crate::daemon::control::Request;
use crate::model::count;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Status {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let (pid, status) = ask(context, &Request::Status)?;
        if self.json {
            print_json(&status)?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = context.zone();
        let time = |value: &Value| {
            value.as_str().and_then(|text| text.parse().ok()).map(|time| local(time, &zone)).unwrap_or_default()
        };
        let word = |key: &str| status[key].as_str().unwrap_or("-").to_string();
        let running: Vec<&Value> = status["running"].as_array().into_iter().flatten().collect();
        let mut text = format!(
            "runner {} with PID {pid}, since {} {}\n",
            word("version"),
            time(&status["started"]),
            context.settings.timezone
        );
        text.push_str(&format!(
            "jobs: {} ({} stale, {} invalid, {} paused), generation {} {}\n",
            status["jobs"],
            status["stale"],
            status["invalid"],
            status["paused"],
            status["generation"],
            word("fingerprint"),
        ));
        if status["commit"].is_string() {
            text.push_str(&format!("commit: {}\n", word("commit")));
        }
        if status["vanished"].is_string() {
            text.push_str(&format!("warning: {}; what was loaded goes on\n", word("vanished")));
        }
        if status["stopping"] == true {
            text.push_str("it is stopping: no other run begins\n");
        }
        let retrying = status["retrying"].as_array().map_or(0, Vec::len);
        let to_retry = if retrying > 0 { format!(", {retrying} between two attempts") } else { String::new() };
        text.push_str(&format!("runs: {} under way, {} waiting{to_retry}\n", running.len(), status["queued"]));
        for run in running {
            text.push_str(&format!(
                "  {}  {}  since {}  PID {}\n",
                run["run"].as_str().unwrap_or_default(),
                run["job"].as_str().unwrap_or_default(),
                time(&run["started"]),
                run["pid"],
            ));
        }
        for run in status["waiting"].as_array().into_iter().flatten() {
            text.push_str(&format!(
                "  {}  {}  waits for {}{}, due {}\n",
                run["run"].as_str().unwrap_or_default(),
                run["job"].as_str().unwrap_or_default(),
                run["for"].as_str().unwrap_or("its turn"),
                if run["until"].is_string() { format!(" until {}", time(&run["until"])) } else { String::new() },
                time(&run["due"]),
            ));
        }
        for run in status["retrying"].as_array().into_iter().flatten() {
            text.push_str(&format!(
                "  {}  {}  attempt {} begins {}\n",
                run["run"].as_str().unwrap_or_default(),
                run["job"].as_str().unwrap_or_default(),
                run["attempt"],
                time(&run["at"]),
            ));
        }
        for watch in status["watches"].as_array().into_iter().flatten() {
            text.push_str(&watch_lines(watch, &time));
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A watch in two lines.
fn watch_lines(watch: &Value, time: &dyn Fn(&Value) -> String) -> String {
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        safe(&words.collect::<Vec<_>>().join(", "))
    };
    let patterns = words(&watch["patterns"]);
    let last = match watch["last_activity"].is_string() {
        true => format!(", last activity {}", time(&watch["last_activity"])),
        false => String::new(),
    };
    format!(
        "watch {}: {} for {} by {}\n  {}; since {}: {} processed, {}, {} pending{last}\n",
        watch["job"].as_str().unwrap_or_default(),
        words(&watch["paths"]),
        if patterns.is_empty() { "all files" } else { &patterns },
        watch["backend"].as_str().unwrap_or("-"),
        safe(watch["state"].as_str().unwrap_or("-")),
        time(&watch["started"]),
        watch["processed"],
        count(watch["errors"].as_u64().unwrap_or(0) as usize, "error"),
        watch["pending"],
    )
}
