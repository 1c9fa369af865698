use std::process::ExitCode;

use clap::Args;

use super::about::about;
use crate::cli::context::{Context, job_name, run_id};
use crate::cli::error::CliError;
use crate::cli::output::{local, print, print_json, safe, table, table_text, times_in};
use crate::model::{JobName, RunId, count};
use crate::watch::{FileRow, State};

#[derive(Debug, Args)]
pub struct Ls {
    /// The watch's job
    #[arg(value_parser = job_name)]
    job: JobName,
    /// Only files whose run is still to come, or under way
    #[arg(long, conflicts_with = "failed")]
    pending: bool,
    /// Only files whose run has failed
    #[arg(long)]
    failed: bool,
    /// Only the files that this run had; of each file the last run counts
    #[arg(long, value_name = "ID", value_parser = run_id, conflicts_with_all = ["pending", "failed", "all"])]
    run: Option<RunId>,
    /// Also files that are gone, and those that no run is made for
    #[arg(long)]
    all: bool,
    /// How many to show at most; those that changed last come first
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Ls {
    pub fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let about = about(context, &self.job)?;
        let is_asked_for = |row: &FileRow| match (self.pending, self.failed) {
            _ if self.run.is_some() => row.run == self.run,
            (true, _) => row.is_pending(),
            (_, true) => row.state == State::Failed && (self.all || !row.gone),
            _ => self.all || (!row.gone && row.state != State::Ignored),
        };
        let rows = about.ledger.entries.iter().filter_map(|(_, entry)| FileRow::of(entry));
        let (mut rows, others): (Vec<FileRow>, Vec<FileRow>) = rows.partition(is_asked_for);
        // Those that would be shown, were it not for what became of them.
        let left_out = others.iter().filter(|row| match (self.pending || self.run.is_some(), self.failed) {
            (true, _) => false,
            (_, true) => row.state == State::Failed,
            _ => true,
        });
        let left_out = left_out.count();
        rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.path.cmp(&b.path)));
        let more = rows.len().saturating_sub(self.limit as usize);
        rows.truncate(self.limit as usize);
        if self.json {
            print_json(&rows.iter().map(FileRow::json).collect::<Vec<_>>())?;
            return Ok(ExitCode::SUCCESS);
        }
        if rows.is_empty() {
            let what = if self.run.is_some() {
                "of that run"
            } else if self.pending {
                "pending"
            } else if self.failed {
                "failed"
            } else {
                "known"
            };
            print(&format!("no files are {what}\n"))?;
            say_left_out(left_out);
            return Ok(ExitCode::SUCCESS);
        }
        let zone = context.zone();
        let mut shown = table(&["STATE", "SINCE", "EVENT", "SIZE", "FILE", "WHY"]);
        for row in &rows {
            let state = if row.gone { format!("{}, gone", row.state.as_str()) } else { row.state.as_str().to_string() };
            let name = about.roots.iter().find_map(|root| row.path.strip_prefix(&root.path).ok());
            let name = name.filter(|name| !name.as_os_str().is_empty()).unwrap_or(&row.path);
            shown.add_row([
                state,
                local(row.at, &zone),
                row.event.as_str().to_string(),
                crate::model::ByteSize(row.size).to_string(),
                safe(&name.to_string_lossy()),
                row.why.as_deref().map(|why| times_in(why, &zone)).unwrap_or_default(),
            ]);
        }
        print(&table_text(&shown))?;
        if more > 0 {
            let are = if more == 1 { "is" } else { "are" };
            anstream::eprintln!("note: {} {are} not shown; --limit shows more", count(more, "more file"));
        }
        say_left_out(left_out);
        Ok(ExitCode::SUCCESS)
    }
}

fn say_left_out(files: usize) {
    if files > 0 {
        let is = if files == 1 { "is" } else { "are" };
        anstream::eprintln!("note: {} {is} gone or ignored; --all shows them as well", count(files, "file"));
    }
}
