use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::output::print;
use super::problems;
use crate::catalog::{Catalog, Generation, StartError, read_file};
use crate::model::{Clock, Problem, Severity, count};
use crate::os::clock::SystemClock;
use crate::os::means::Means;
use crate::spec::{Defaults, MissingVariable, ReadContext, Source, read_defaults, read_job, read_runner};

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Files or folders to check; the whole configuration where none is named
    paths: Vec<PathBuf>,
    /// How findings are written
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// A variable of the environment that is missing is an error
    #[arg(long)]
    strict_env: bool,
    /// Variables to check with, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Also accept files that others may write to
    #[arg(long)]
    allow_insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Human,
    Json,
    Github,
}

/// What was looked at, and what was found.
#[derive(Default)]
struct Checked {
    files: usize,
    jobs: usize,
    problems: Vec<Problem>,
}

impl Verb for Validate {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if let Some(path) = &self.env_file {
            load_env(path)?;
        }
        let mut checked = Checked::default();
        if self.paths.is_empty() {
            self.directory(context, context.paths.jobs.clone(), &mut checked);
        }
        for path in &self.paths {
            self.path(context, path, &mut checked)?;
        }
        checked.problems.sort_by(|a, b| (&a.path, a.line, a.column).cmp(&(&b.path, b.line, b.column)));
        checked.problems.dedup();
        let errors = checked.problems.iter().filter(|problem| problem.is_error()).count();
        match if self.json { Format::Json } else { self.format } {
            Format::Json => print(&problems::json(checked.files, checked.jobs, &checked.problems))?,
            Format::Github => print(&problems::github(&checked.problems))?,
            Format::Human => {
                let mut text = problems::human(&checked.problems, true);
                let warnings = checked.problems.len() - errors;
                text.push_str(&format!(
                    "{}, {}: {}, {}\n",
                    count(checked.files, "file"),
                    count(checked.jobs, "job"),
                    count(errors, "error"),
                    count(warnings, "warning"),
                ));
                print(&text)?;
            }
        }
        Ok(if errors > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
    }
}

impl Validate {
    fn missing(&self) -> MissingVariable {
        if self.strict_env { MissingVariable::Error } else { MissingVariable::Warning }
    }

    fn path(&self, context: &Context, path: &Path, checked: &mut Checked) -> Result<(), CliError> {
        let absolute = std::path::absolute(path)?;
        std::fs::symlink_metadata(&absolute)
            .map_err(|error| CliError::failed(format!("{} cannot be checked: {error}", path.display())))?;
        if let Ok(below) = absolute.strip_prefix(&context.paths.jobs) {
            self.part_of_jobs(context, below, absolute.is_dir(), checked);
        } else if absolute.is_dir() {
            self.directory(context, absolute, checked);
        } else {
            self.file(context, path, checked);
        }
        Ok(())
    }

    /// Part of the configuration: with the defaults of its folders, and beside all other names.
    fn part_of_jobs(&self, context: &Context, below: &Path, is_folder: bool, checked: &mut Checked) {
        let mut all = Checked::default();
        let generation = self.directory(context, context.paths.jobs.clone(), &mut all);
        let jobs = &context.paths.jobs;
        let shown = jobs.strip_prefix(&context.paths.directory).unwrap_or(jobs).join(below);
        let is_meant = |file: &str| Path::new(file).starts_with(&shown);
        let Some(generation) = generation else { return checked.problems.extend(all.problems) };
        let is_defaults = below.file_stem().is_some_and(|stem| stem == "_defaults");
        checked.files += if is_folder { generation.files } else { 1 };
        checked.jobs += generation.jobs.iter().filter(|job| is_meant(&job.file)).count();
        let is_loaded = generation.jobs.iter().map(|job| &job.file).any(|file| is_meant(file))
            || generation.invalid.iter().any(|invalid| is_meant(&invalid.file));
        if !is_folder && !is_defaults && !is_loaded {
            let mut problem = Problem::of_file(shown.to_string_lossy(), "no job is loaded from this file")
                .help("names of job files end in .yaml, .yml or .json and do not begin with `.` or `_`");
            problem.severity = Severity::Warning;
            checked.problems.push(problem);
        }
        checked.problems.extend(all.problems.into_iter().filter(|problem| is_meant(&problem.path)));
    }

    /// A folder of job files; `None` if it cannot be read at all.
    fn directory(&self, context: &Context, jobs: PathBuf, checked: &mut Checked) -> Option<Arc<Generation>> {
        let mut options = context.catalog_options(self.missing(), false);
        options.allow_insecure = self.allow_insecure;
        options.tolerates_broken_settings = true;
        options.jobs = jobs;
        Self::passed_over(context, &options.jobs, checked);
        let shown = options.jobs.strip_prefix(&options.directory).unwrap_or(&options.jobs).to_path_buf();
        match Catalog::open(options, SystemClock.now()) {
            Ok((_, generation, _)) => {
                checked.files += generation.files;
                checked.jobs += generation.jobs.len();
                checked.problems.extend(generation.problems.iter().cloned());
                checked.problems.extend(super::idle::warnings(&generation, SystemClock.now()));
                Some(generation)
            }
            Err(StartError::Settings(problems)) => {
                checked.problems.extend(problems);
                None
            }
            Err(StartError::NoJobs { error, .. }) => {
                let problem = Problem::of_file(shown.to_string_lossy(), format!("this folder cannot be read: {error}"));
                checked.problems.push(problem.help("each file in jobs/ is a job; -C and --jobs say where to look"));
                None
            }
        }
    }

    /// Files that look as if they were read, and are not.
    fn passed_over(context: &Context, jobs: &Path, checked: &mut Checked) {
        let mut warn = |path: &Path, message: String, help: &str| {
            let shown = path.strip_prefix(&context.paths.directory).unwrap_or(path);
            let problem = Problem::of_file(shown.to_string_lossy(), message).help(help);
            checked.problems.push(Problem { severity: Severity::Warning, ..problem });
        };
        let mut folders = vec![jobs.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
                let lower = ending.to_lowercase();
                if name.starts_with(['.', '_']) {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if ending != lower && ["yaml", "yml", "json"].contains(&lower.as_str()) {
                    warn(
                        &path,
                        format!("no job is loaded from this file: its name ends in `.{ending}`"),
                        &format!("rename it so that it ends in `.{lower}`"),
                    );
                }
            }
        }
    }

    /// A file by itself, wherever it is.
    fn file(&self, context: &Context, path: &Path, checked: &mut Checked) {
        checked.files += 1;
        let shown = path.to_string_lossy();
        let bytes = match read_file(path, &shown, self.allow_insecure) {
            Ok(bytes) => bytes,
            Err(problem) => return checked.problems.push(*problem),
        };
        let env = |name: &str| std::env::var(name).ok();
        let cx = ReadContext {
            env: &env,
            missing: self.missing(),
            timezone: &context.settings.timezone,
            means: Means::of_this_process(),
        };
        let source = Source { path: &shown, bytes: &bytes };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        checked.problems.extend(match &*stem {
            "_defaults" => read_defaults(source, &Defaults::default(), &cx).1,
            "runner" => read_runner(source, &cx).1,
            name => {
                let read = read_job(source, name, &Defaults::default(), &cx);
                checked.jobs += usize::from(read.spec.is_some());
                read.problems
            }
        });
    }
}

/// Puts the variables of a file into the environment of this process.
fn load_env(path: &Path) -> Result<(), CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::failed(format!("{} cannot be read: {error}", path.display())))?;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(CliError::usage(format!("{}:{}: expected NAME=VALUE", path.display(), number + 1)));
        };
        let value = value.trim();
        let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        // SAFETY: no other thread has been started yet: this runs before anything is read.
        unsafe { std::env::set_var(name.trim(), unquoted.unwrap_or(value)) };
    }
    Ok(())
}
