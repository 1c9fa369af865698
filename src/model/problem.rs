use serde::{Deserialize, Serialize};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file loads.
    Warning,
    /// The file is not loaded.
    Error,
}

/// A finding inside one value, before anybody knows in which file and line that value stands.
///
/// Triggers, actions and checks across fields raise these; `spec` gives them their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer from the job's root, such as `/schedule/1`; empty for the job as a whole.
    pub pointer: String,
    /// The bytes of the string at `pointer` that are meant; the whole value if absent.
    pub span: Option<std::ops::Range<usize>>,
    /// Whether the key at `pointer` is meant, not the value.
    pub of_key: bool,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    /// Faults of a value as faults of the map in which it stands behind `key`.
    pub fn below(key: &str, faults: Vec<Self>) -> Vec<Self> {
        faults.into_iter().map(|fault| Self { pointer: format!("/{key}{}", fault.pointer), ..fault }).collect()
    }

    pub fn error(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            span: None,
            of_key: false,
            severity: Severity::Error,
            message: message.into(),
            help: None,
        }
    }

    pub fn warning(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(pointer, message) }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with the key at the pointer meant.
    pub fn of_key(mut self) -> Self {
        self.of_key = true;
        self
    }
}

/// One finding in one file: where, what, and how to mend it.
///
/// A leaf that every stage can raise and only `cli` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as seen from the configuration directory.
    pub path: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// Counted from 1 in characters; 0 where the whole file is meant.
    pub column: usize,
    /// How many characters are meant, at least 1 where a place is known.
    #[serde(skip)]
    pub length: usize,
    /// The field, as a path such as `limits.output`; empty where none is meant.
    pub field: String,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
    /// The line of the file that is meant, for whoever shows it; empty where there is none.
    #[serde(skip)]
    pub source_line: String,
    /// The column at which `source_line` begins: 1, unless a very long line was cut.
    #[serde(skip)]
    pub source_column: usize,
}

impl Problem {
    /// A problem of a whole file.
    pub fn of_file(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: 0,
            column: 0,
            length: 0,
            field: String::new(),
            severity: Severity::Error,
            message: message.into(),
            help: None,
            source_line: String::new(),
            source_column: 1,
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The field and the message, on one line; the field only where the message does not name it.
    pub fn headline(&self) -> String {
        if self.field.is_empty() || self.message.contains(&format!("`{}`", self.field)) {
            return self.message.clone();
        }
        format!("{}: {}", self.field, self.message)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: `jobs/etl/load.yaml:4:11: schedule: minute 61 is outside 0-59`.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.headline())
    }
}
