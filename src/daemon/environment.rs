use std::ffi::OsStr;
use std::fmt;

use crate::os::exec::Text;

/// The environment of a run: each name once, in order, all in one piece of memory.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Environment(Vec<(Text, Text)>);

/// What is added to an inherited one, mostly.
const ROOM: usize = 24;

impl Environment {
    /// Of pairs that are in order of their names, each there once.
    pub fn inherited(sorted: impl ExactSizeIterator<Item = (Text, Text)>) -> Self {
        let mut all = Vec::with_capacity(sorted.len() + ROOM);
        all.extend(sorted);
        Self(all)
    }

    fn place(&self, key: &OsStr) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| (**own).cmp(key))
    }

    pub fn insert(&mut self, key: Text, value: Text) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub fn remove(&mut self, key: &OsStr) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    /// Leaves those whose name is wanted.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&OsStr) -> bool) {
        self.0.retain(|(key, _)| is_wanted(key));
    }

    pub fn has(&self, key: &OsStr) -> bool {
        self.place(key).is_ok()
    }

    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.iter().map(|(key, _)| &**key)
    }

    pub fn into_pairs(self) -> Vec<(Text, Text)> {
        self.0
    }
}

impl fmt::Debug for Environment {
    /// Without the values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Extend<(Text, Text)> for Environment {
    fn extend<T: IntoIterator<Item = (Text, Text)>>(&mut self, pairs: T) {
        pairs.into_iter().for_each(|(key, value)| self.insert(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once_and_in_order() {
        let text = |text: &'static str| Text::Borrowed(OsStr::new(text));
        let sorted = [("B", "1"), ("D", "2")].map(|(key, value)| (text(key), text(value)));
        let mut env = Environment::inherited(sorted.into_iter());
        env.extend([("C", "3"), ("A", "4"), ("D", "5"), ("E", "6")].map(|(key, value)| (text(key), text(value))));
        env.remove(OsStr::new("C"));
        env.remove(OsStr::new("X"));
        assert!(env.has(OsStr::new("A")) && !env.has(OsStr::new("C")));
        env.retain(|key| key != "B");
        assert_eq!(env.names().collect::<Vec<_>>(), ["A", "D", "E"]);
        assert_eq!(format!("{env:?}"), r#"["A", "D", "E"]"#, "values may be secrets");
        let values: Vec<_> = env.into_pairs().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [text("4"), text("5"), text("6")]);
    }
}
