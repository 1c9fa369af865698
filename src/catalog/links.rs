//! The links that a path leads through: a swap of any of them changes what is found behind it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Every link on the way to what `path` means, each as the path of the link itself, outermost first; last, what they lead to.
pub(super) fn on_the_way_to(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut left: VecDeque<OsString> = components(&absolute);
    let mut at = PathBuf::from("/");
    let mut found = Vec::new();
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        if let Ok(target) = std::fs::read_link(&at) {
            found.push(at.clone());
            if found.len() > MOST_LINKS {
                return found;
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in components(&target).into_iter().rev() {
                left.push_front(part);
            }
        }
    }
    found.push(at);
    found
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_os_string()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_links_are_all_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("rev1/jobs")).unwrap();
        symlink("rev1", root.join("..data")).unwrap();
        symlink("..data/jobs", root.join("jobs")).unwrap();
        assert_eq!(on_the_way_to(&root.join("jobs")), [root.join("jobs"), root.join("..data"), root.join("rev1/jobs")]);
        symlink("loop", root.join("loop")).unwrap();
        assert!(on_the_way_to(&root.join("loop")).len() > MOST_LINKS);
    }
}
