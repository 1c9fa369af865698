use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::files::{Backend, BatchMode, DoneFile, Existing, Files, Identity, Order, Pattern};
use super::patterns;
use super::settle::Settle;
use super::{Armed, TriggerContext, TriggerKind};
use crate::model::{Fault, FileEvent, HumanDuration, Severity, TriggeredBy};

/// Files that arrive or change.
///
/// A run gets the path in RUNNER_PATH, and all that arrived in the JSON Lines file that RUNNER_ITEMS names. What was done is
/// remembered in `logs/jobs/<job>/ledger.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "paths", "examples" = [{ "paths": ["~/Documents/Research"], "patterns": ["*.{pdf,docx,txt}"] }]))]
pub struct Fields {
    /// The directories, or single files. `~` is the home of the runner's user; a relative path counts from the configuration
    /// directory.
    #[schemars(length(min = 1, max = 100), extend("x-expects" = "a list of directories such as `[~/inbox]`"))]
    pub paths: Vec<String>,
    /// Which files: compared with the name, or with the path below `paths` where there is a slash in it. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1_000), example = &["*.{pdf,docx,txt}"], extend("x-expects" = "a list of patterns such as `[\"*.pdf\"]`"))]
    pub patterns: Vec<String>,
    /// Which files and folders are left out. Names of files that are not complete (`*.part`, `*.tmp`, `.~*`, `*.crdownload`)
    /// and editors' leftovers are so without being named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1_000), example = &["drafts/**"], extend("x-expects" = "a list of patterns such as `[\"drafts/**\"]`"))]
    pub ignore: Vec<String>,
    /// Whether the folders below are watched as well.
    #[serde(default = "yes")]
    pub recursive: bool,
    /// Whether what .gitignore and .ignore files below the paths name is left out.
    #[serde(default = "yes")]
    pub gitignore: bool,
    /// What counts; files that are moved in count as created.
    #[serde(default = "created_and_modified")]
    #[schemars(extend("minItems" = 1, "uniqueItems" = true))]
    pub events: Vec<FileEvent>,
    /// How long size and time of change must hold still; or `close`, on local disks: until whoever wrote the file has closed
    /// it, or it was moved into its place.
    #[serde(default)]
    pub settle: Settle,
    /// Only when this file stands beside it; `{name}` is the file's name, `{stem}` that without its ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"{name}.done", extend("minLength" = 1))]
    pub done_file: Option<String>,
    /// What makes content new.
    #[serde(default)]
    pub identity: Identity,
    /// How changes are noticed.
    #[serde(default)]
    pub backend: Backend,
    /// How often everything is looked at where it polls, such as on network shares; at least 100ms.
    #[serde(default = "thirty_seconds")]
    pub poll: HumanDuration,
    /// How often everything is looked at besides events; at least 1s.
    #[serde(default = "ten_minutes")]
    pub rescan: HumanDuration,
    /// What becomes of files that are there at the first start.
    #[serde(default)]
    pub existing: Existing,
    /// In which order files are taken.
    #[serde(default)]
    pub order: Order,
    /// How many files a run is for.
    #[serde(default)]
    pub batch: Batch,
    /// What becomes of a file whose run has succeeded. Default: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Afterwards>,
    /// What becomes of a file whose run has failed, after all attempts. Default: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Afterwards>,
}

/// A watch. Few jobs are one, and all have room for their triggers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watch(Box<Fields>);

impl JsonSchema for Watch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Watch".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Fields::json_schema(generator)
    }
}

/// How files come to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-expects" = "a map such as `{ mode: all }`"))]
pub struct Batch {
    /// One run a file, or one for all that have come.
    pub mode: BatchMode,
    /// With `all`: how many files a run gets at most.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: u32,
    /// With `all`: how long the first file waits for others.
    pub wait: HumanDuration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { mode: BatchMode::Each, max: 500, wait: HumanDuration::from_secs(5) }
    }
}

/// What becomes of a file after its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "move", "x-expects" = "a map such as `{ move: done/ }`"))]
pub struct Afterwards {
    /// It goes to this folder, made where it is missing; a relative path counts from the watched one. The folders between keep
    /// their names, and nothing there is overwritten.
    #[serde(rename = "move")]
    #[schemars(example = &"done/", extend("minLength" = 1))]
    pub move_to: String,
}

fn yes() -> bool {
    true
}

fn created_and_modified() -> Vec<FileEvent> {
    vec![FileEvent::Created, FileEvent::Modified]
}

fn thirty_seconds() -> HumanDuration {
    HumanDuration::from_secs(30)
}

fn ten_minutes() -> HumanDuration {
    HumanDuration::from_secs(600)
}

const DAY: HumanDuration = HumanDuration::from_secs(86_400);

impl Fields {
    fn lengths(&self) -> Vec<Fault> {
        let at_least = [
            ("/poll", self.poll, HumanDuration::from_millis(100)),
            ("/rescan", self.rescan, HumanDuration::from_secs(1)),
        ];
        let mut faults = Vec::new();
        for (pointer, length, least) in at_least {
            if length < least {
                faults.push(Fault::error(pointer, format!("{length} is too short, at least {least}")));
            }
        }
        let settle = match self.settle {
            Settle::After(length) => length,
            Settle::Close => HumanDuration::default(),
        };
        for (pointer, length) in [("/settle", settle), ("/batch/wait", self.batch.wait)] {
            if length > DAY {
                faults.push(Fault::error(pointer, format!("{length} is too long, at most {DAY}")));
            }
        }
        faults
    }
}

impl Fields {
    /// Why files cannot be moved to that folder, and what to write.
    fn why_not_moved_to(&self, folder: &str) -> Option<(&'static str, &'static str)> {
        const SUCH_AS: &str = "write one such as `done/`";
        let parts = || Path::new(folder).components();
        if folder.is_empty() || folder.contains('\0') {
            Some(("this is not a folder that files can be moved to", SUCH_AS))
        } else if parts().any(|part| part == Component::ParentDir) {
            Some((
                "`..` has no meaning here",
                "write the whole path, or a folder below the watched one such as `done/`",
            ))
        } else if folder == "~" || folder.starts_with("~/") {
            Some(("`~` has no meaning here", "write the whole path, or one that counts from the watched path"))
        } else if parts().all(|part| part == Component::CurDir)
            || (folder.starts_with('/') && self.paths.iter().any(|path| is_same_path(path, folder)))
        {
            Some(("files would stay in the watched folder, under another name", SUCH_AS))
        } else if ["{path}", "{name}", "{stem}", "{dir}", "{event}"].iter().any(|word| folder.contains(word)) {
            Some(("nothing is filled in here", "write a plain folder: below it a file keeps its folders and its name"))
        } else {
            None
        }
    }
}

/// Whether two paths are the same as they are written, but for a slash at the end and the like.
fn is_same_path(one: &str, other: &str) -> bool {
    let plain =
        |path: &str| Path::new(path).components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
    plain(one) == plain(other)
}

impl TriggerKind for Watch {
    fn triggered_by(&self) -> TriggeredBy {
        TriggeredBy::Watch
    }

    fn problems(&self, _: TriggerContext<'_>) -> Vec<Fault> {
        let mut faults = self.0.lengths();
        for (at, path) in self.0.paths.iter().enumerate() {
            let pointer = format!("/paths/{at}");
            if path.is_empty() || path.contains('\0') {
                let fault = Fault::error(pointer, "this is not a path");
                faults.push(fault.help("write a folder such as `~/inbox`; `.` is the configuration directory"));
            } else if path.starts_with('~') && path != "~" && !path.starts_with("~/") {
                let fault = Fault::error(pointer, "only the runner's own home can be written with `~`");
                faults.push(fault.help("write the whole path"));
            } else if path.starts_with('$') {
                let fault = Fault::warning(pointer, format!("`{path}` is taken as it is: no variable is filled in"));
                faults.push(fault.help("write `${NAME}`, with braces"));
            } else if path.contains(['*', '?']) {
                let fault = Fault::warning(pointer, "a path is taken as it is, `*` and `?` have no meaning in it");
                faults.push(fault.help("name the folder here, and the files in `patterns`"));
            } else if let Some(other) = self.0.paths[..at].iter().find(|other| is_same_path(other, path)) {
                let message = match other == path {
                    true => format!("`{path}` is named twice"),
                    false => format!("`{path}` is the same as `{other}`"),
                };
                faults.push(Fault::error(pointer, message).help("remove one of the two"));
            }
        }
        faults.extend(patterns::problems(&self.0.paths, &self.0.patterns, &self.0.ignore, self.0.recursive));
        if let Some(text) = &self.0.done_file
            && DoneFile::new(text).is_none()
        {
            let message = format!("`{text}` does not say how the file is called that stands beside another one");
            let help = "write one of `{name}` and `{stem}` once, with more beside it and no folder: `{name}.done`, `{stem}.ok`";
            faults.push(Fault::error("/done_file", message).help(help));
        }
        for (pointer, afterwards) in [("/on_success", &self.0.on_success), ("/on_failure", &self.0.on_failure)] {
            if let Some(Afterwards { move_to }) = afterwards
                && let Some((message, help)) = self.0.why_not_moved_to(move_to)
            {
                faults.push(Fault::error(format!("{pointer}/move"), message).help(help));
            }
        }
        if self.0.backend == Backend::Poll && self.0.rescan != ten_minutes() {
            let message = "`rescan` means nothing beside `backend: poll`, which looks at everything each `poll`";
            faults.push(Fault::warning("/rescan", message).help("remove it, or write `poll`"));
        }
        if self.0.identity == Identity::Path && self.0.on_success.is_some() {
            let message =
                "with `identity: path` each name is run for once: a later file of the same name stays where it is";
            faults.push(Fault::warning("/identity", message).help("leave `identity` out, so that a new file is new"));
        }
        if self.0.identity == Identity::Path && self.0.events == [FileEvent::Modified] {
            let message = "with `identity: path` no file is ever modified: none makes this job due";
            faults.push(Fault::warning("/events", message).help("add `created`, or leave `identity` out"));
        }
        if self.0.batch.mode == BatchMode::Each
            && (self.0.batch.max, self.0.batch.wait) != (Batch::default().max, Batch::default().wait)
        {
            let message = "`max` and `wait` mean nothing with `mode: each`, which makes one run a file";
            faults.push(Fault::warning("/batch", message).help("write `mode: all`, or remove them"));
        }
        faults
    }

    fn arm(&self, context: TriggerContext<'_>) -> Option<Armed> {
        if self.problems(context).iter().any(|fault| fault.severity == Severity::Error) {
            return None;
        }
        let patterns = |all: &[String]| all.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>().ok();
        let moved = |afterwards: &Option<Afterwards>| afterwards.as_ref().map(|to| to.move_to.clone());
        Some(Armed::AtFiles(Arc::new(Files {
            paths: self.0.paths.clone(),
            patterns: patterns(&self.0.patterns)?,
            ignore: patterns(&self.0.ignore)?,
            recursive: self.0.recursive,
            gitignore: self.0.gitignore,
            events: self.0.events.clone(),
            settle: self.0.settle,
            done_file: self.0.done_file.as_deref().and_then(DoneFile::new),
            identity: self.0.identity,
            backend: self.0.backend,
            poll: self.0.poll.0,
            rescan: self.0.rescan.0,
            existing: self.0.existing,
            order: self.0.order,
            mode: self.0.batch.mode,
            max: self.0.batch.max as usize,
            wait: self.0.batch.wait.0,
            on_success: moved(&self.0.on_success),
            on_failure: moved(&self.0.on_failure),
        })))
    }

    fn words(&self, _: TriggerContext<'_>) -> String {
        let what = match &self.0.patterns[..] {
            [] => "a file".to_string(),
            patterns => format!("a file like {}", patterns.join(" or ")),
        };
        let word = |event: &FileEvent| match event {
            FileEvent::Created => "arrives",
            FileEvent::Modified => "changes",
            FileEvent::Deleted => "goes",
            FileEvent::Renamed => "is renamed",
        };
        let events: Vec<&str> = self.0.events.iter().map(word).collect();
        format!("when {what} {} in {}", events.join(" or "), self.0.paths.join(" or "))
    }

    fn written(&self) -> Vec<String> {
        vec![format!("watch {}", self.0.paths.join(", "))]
    }

    fn files(&self) -> Option<BatchMode> {
        Some(self.0.batch.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(json: serde_json::Value) -> Watch {
        serde_json::from_value(json).unwrap()
    }

    fn problems(json: serde_json::Value) -> Vec<String> {
        let zone = jiff::tz::TimeZone::UTC;
        let found = watch(json).problems(TriggerContext::of("own", &zone));
        found.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.message)).collect()
    }

    #[test]
    fn a_path_is_enough() {
        let json = serde_json::json!({ "paths": ["in"] });
        assert_eq!(problems(json.clone()), [""; 0]);
        let zone = jiff::tz::TimeZone::UTC;
        let Some(Armed::AtFiles(files)) = watch(json).arm(TriggerContext::of("own", &zone)) else { panic!() };
        assert_eq!(files.settle, Settle::After(HumanDuration::from_secs(2)));
        assert!(files.recursive && files.gitignore && files.patterns.is_empty());
        assert_eq!((files.identity, files.backend), (Identity::Stat, Backend::Auto));
    }

    #[test]
    fn what_can_be_seen_in_the_file_is_refused_there() {
        let base = |more: serde_json::Value| {
            let mut map = serde_json::json!({ "paths": ["in"] });
            map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            problems(map)
        };
        for (more, pointer) in [
            (serde_json::json!({ "paths": ["~other/x"] }), "/paths/0"),
            (serde_json::json!({ "paths": ["a", "a"] }), "/paths/1"),
            (serde_json::json!({ "paths": ["a", "./a/"] }), "/paths/1"),
            (serde_json::json!({ "on_success": { "move": "./" } }), "/on_success/move"),
            (serde_json::json!({ "on_success": { "move": "~/done" } }), "/on_success/move"),
            (serde_json::json!({ "on_failure": { "move": "{name}/x" } }), "/on_failure/move"),
            (serde_json::json!({ "paths": ["/srv/in"], "on_failure": { "move": "/srv/in/" } }), "/on_failure/move"),
            (serde_json::json!({ "done_file": "{name}{stem}.ok" }), "/done_file"),
            (serde_json::json!({ "patterns": ["[z"] }), "/patterns/0"),
            (serde_json::json!({ "ignore": ["!keep"] }), "/ignore/0"),
            (serde_json::json!({ "done_file": "done" }), "/done_file"),
            (serde_json::json!({ "poll": "1ms" }), "/poll"),
            (serde_json::json!({ "settle": "2d" }), "/settle"),
            (serde_json::json!({ "on_success": { "move": "../out" } }), "/on_success/move"),
            (serde_json::json!({ "batch": { "wait": "1s" } }), "/batch"),
            (serde_json::json!({ "backend": "poll", "rescan": "5s" }), "/rescan"),
            (serde_json::json!({ "paths": ["$HOME/in"] }), "/paths/0"),
            (serde_json::json!({ "identity": "path", "on_success": { "move": "done" } }), "/identity"),
            (serde_json::json!({ "patterns": ["../*.pdf"] }), "/patterns/0"),
        ] {
            let found = base(more);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{pointer}:")), "{found:?}");
        }
    }

    #[test]
    fn the_words_say_what_where_and_which() {
        let zone = jiff::tz::TimeZone::UTC;
        let json = serde_json::json!({ "paths": ["~/in"], "patterns": ["*.pdf", "*.txt"] });
        let words = watch(json).words(TriggerContext::of("own", &zone));
        assert_eq!(words, "when a file like *.pdf or *.txt arrives or changes in ~/in");
    }
}
