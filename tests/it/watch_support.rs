//! What tests of watches have in common.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::sandbox::{Runner, Sandbox};

/// A runner whose watch `w` of `in` is ready.
#[track_caller]
pub fn watching(sandbox: &Sandbox) -> Runner<'_> {
    fs::create_dir_all(sandbox.path("in")).unwrap();
    let runner = sandbox.start();
    sandbox.wait_for_log("w: watches");
    runner
}

/// What the commands of the jobs have written down.
pub fn noted(sandbox: &Sandbox) -> Vec<String> {
    sandbox.read("noted").lines().map(str::to_string).collect()
}

/// Lines of a watch's ledger.
pub fn ledger(sandbox: &Sandbox, job: &str) -> Vec<Value> {
    let text = sandbox.read(&format!("logs/jobs/{job}/ledger.log"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The newest state of each file of `w`, by name.
pub fn states(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in ledger(sandbox, "w") {
        let path = Path::new(line["path"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
        match line["state"].as_str().unwrap() {
            "root" | "moved" => {}
            "forgotten" => {
                found.remove(&path);
            }
            state => {
                found.insert(path, state.to_string());
            }
        }
    }
    found
}
