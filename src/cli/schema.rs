use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Verb;
use super::context::Context;
use super::error::CliError;
use super::output::print;
use crate::spec::schema;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Job,
    Defaults,
    Runner,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Which schema to print
    #[arg(value_enum, default_value = "job")]
    kind: Kind,
    /// Write all three to schema/ in the configuration directory, for editors
    #[arg(long)]
    write: bool,
}

impl Verb for Schema {
    fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        if !self.write {
            let schema = match self.kind {
                Kind::Job => schema::job(),
                Kind::Defaults => schema::defaults(),
                Kind::Runner => schema::runner(),
            };
            print(&schema::text(&schema))?;
            return Ok(ExitCode::SUCCESS);
        }
        let directory = context.paths.directory.join("schema");
        std::fs::create_dir_all(&directory)
            .map_err(|error| CliError::failed(format!("{} cannot be made: {error}", directory.display())))?;
        for (name, schema) in schema::files() {
            let path = directory.join(name);
            crate::os::file::replace(&path, schema::text(&schema).as_bytes(), 0o644)
                .map_err(|error| CliError::failed(format!("{} cannot be written: {error}", path.display())))?;
            print(&format!("schema/{name}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
