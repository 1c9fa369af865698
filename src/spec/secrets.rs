use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross::variable_name;
use super::policies::Policies;
use super::shown::shown;
use super::types::escape;
use crate::model::{Fault, count};

/// Where one secret of a job is read from, and how the command gets it. Holds no value, ever.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "x-private" = true, "x-expects" = "a source such as `{ file: /run/secrets/api }`"))]
pub struct Secret {
    /// A file that holds it. A relative path counts from the configuration directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/secrets/api", extend("minLength" = 1))]
    pub file: Option<String>,
    /// A variable in the runner's own environment, which the command then does not inherit by its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"CI_TOKEN", extend("minLength" = 1))]
    pub env: Option<String>,
    /// A file of that name in the runner's `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` puts it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"db", extend("minLength" = 1))]
    pub credential: Option<String>,
    /// A command that prints it: a string is run by `sh -c`, a list is a program and its arguments without a shell. It has 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<SecretCommand>,
    /// Whether the variable holds the secret, or the path of a private file that does.
    #[serde(rename = "as")]
    pub given: Given,
}

/// A command that prints a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretCommand {
    Shell(String),
    Exec(Vec<String>),
}

/// How a command gets a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// As the value of the environment variable.
    #[default]
    Env,
    /// As a private file, whose path is the value of the environment variable.
    File,
}

/// The one source that a checked secret has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretSource<'a> {
    File(&'a str),
    Env(&'a str),
    Credential(&'a str),
    Command(&'a SecretCommand),
}

impl Secret {
    /// The first source that it names; a checked one has no other.
    pub fn source(&self) -> Option<SecretSource<'_>> {
        let file = self.file.as_deref().map(SecretSource::File);
        let env = || self.env.as_deref().map(SecretSource::Env);
        let credential = || self.credential.as_deref().map(SecretSource::Credential);
        file.or_else(env).or_else(credential).or_else(|| self.command.as_ref().map(SecretSource::Command))
    }

    /// What is wrong with it, each at its pointer below its name.
    fn problems(&self) -> Vec<Fault> {
        let named: Vec<&str> = [
            self.file.as_ref().map(|_| "`file`"),
            self.env.as_ref().map(|_| "`env`"),
            self.credential.as_ref().map(|_| "`credential`"),
            self.command.as_ref().map(|_| "`command`"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut faults = Vec::new();
        match named[..] {
            [] => faults.push(
                Fault::error("", "the secret has no source")
                    .help("add one of `file`, `env`, `credential` and `command`"),
            ),
            [_] => {}
            [..] => {
                let message = format!("a secret has one source, this one has {}", named.join(" and "));
                faults.push(Fault::error("", message).help("keep one of them"));
            }
        }
        if self.file.as_ref().is_some_and(|path| path.contains('\0')) {
            faults.push(Fault::error("/file", "a path cannot hold a NUL character"));
        }
        if self.env.as_ref().is_some_and(|name| name.contains(['=', '\0'])) {
            faults.push(Fault::error("/env", "the name of an environment variable cannot hold `=` or NUL"));
        }
        if let Some(name) = &self.credential
            && (name.contains(['/', '\0']) || [".", ".."].contains(&name.as_str()))
        {
            let message = format!("`{}` is not the name of a credential", shown(name));
            faults.push(Fault::error("/credential", message).help("write a name without a slash, or use `file`"));
        }
        faults.extend(self.command.iter().flat_map(|command| Fault::below("command", command.problems())));
        faults
    }
}

impl SecretCommand {
    /// The program with its arguments.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
            Self::Exec(argv) => argv.clone(),
        }
    }

    fn problems(&self) -> Vec<Fault> {
        let (texts, is_empty) = match self {
            Self::Shell(text) => (std::slice::from_ref(text), text.trim().is_empty()),
            Self::Exec(argv) => (argv.as_slice(), argv.first().is_none_or(String::is_empty)),
        };
        let has_nul = texts.iter().any(|text| text.contains('\0'));
        let empty = is_empty.then(|| Fault::error("", "the command is empty"));
        empty.into_iter().chain(has_nul.then(|| Fault::error("", "a command cannot hold a NUL character"))).collect()
    }
}

/// What is wrong with the secrets of a job, or of defaults.
pub(super) fn problems(policies: &Policies) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, secret) in &policies.secrets {
        let pointer = format!("/secrets/{}", escape(name));
        let of_name = |message: String, help: &str| Fault::error(pointer.clone(), message).help(help).of_key();
        if let Some(fault) = variable_name(pointer.clone(), name) {
            faults.push(fault);
        } else if name.contains('/') || [".", ".."].contains(&name.as_str()) {
            faults.push(of_name(
                format!("`{}` is not a name for a secret", shown(name)),
                "write one such as `API_KEY`: it is the name of a variable, and may become that of a file",
            ));
        } else if name.starts_with("RUNNER_") || name == "PWD" {
            faults.push(of_name(
                format!("`{}` is a name that the runner keeps for itself", shown(name)),
                "choose another one; it keeps `PWD` and what begins with `RUNNER_`",
            ));
        } else if policies.env.get(name).is_some() {
            faults
                .push(of_name(format!("`{}` stands in `env` and in `secrets`", shown(name)), "remove one of the two"));
        }
        let below = secret.problems().into_iter();
        faults.extend(below.map(|fault| Fault { pointer: format!("{pointer}{}", fault.pointer), ..fault }));
    }
    if policies.secrets.len() > MOST {
        let message = format!("the job has {}, at most {MOST}", count(policies.secrets.len(), "secret"));
        faults.push(Fault::error("/secrets", message).help("put several of them into one file"));
    }
    faults
}

/// How many secrets a job may have: each may have 1 MiB, and is held in memory while the job runs.
const MOST: usize = 100;

impl JsonSchema for SecretCommand {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretCommand".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "array"],
            "items": { "type": "string" },
            "minLength": 1,
            "minItems": 1,
            "x-expects": "a command: a string for the shell, or a list of a program and its arguments",
            "examples": [["vault", "read", "-field=key", "secret/api"]],
        })
    }
}
