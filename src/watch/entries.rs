use std::hash::BuildHasher;
use std::hash::RandomState;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hashbrown::{HashTable, hash_table};

use super::entry::{Entry, Hash};
use super::stat::Stat;
use crate::model::stable_hash::mixed;

/// The place of an entry: the same as long as it is there.
pub type Id = u32;

/// All files of a watch, found by path, by inode and by content. Made for a million of them: an entry stands once, the indexes hold
/// numbers.
#[derive(Debug, Default)]
pub struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<Id>,
    by_path: HashTable<Id>,
    by_inode: HashTable<Id>,
    by_hash: HashTable<Id>,
    state: RandomState,
    /// For inodes, whose numbers nobody picks freely.
    seed: Seed,
}

/// A number of its own for each process that nobody knows beforehand.
#[derive(Debug, Clone, Copy)]
struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

fn slot(slots: &[Option<Entry>], id: Id) -> Option<&Entry> {
    slots.get(id as usize)?.as_ref()
}

impl Entries {
    /// Makes room for so many at once.
    pub fn reserve(&mut self, count: usize) {
        self.slots.reserve(count);
        let Self { slots, by_path, by_inode, state, seed, .. } = self;
        by_path.reserve(count, |id| path_hash(state, slots, *id));
        by_inode.reserve(count, |id| inode_hash(*seed, slots, *id));
    }

    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    pub fn get(&self, id: Id) -> Option<&Entry> {
        slot(&self.slots, id)
    }

    /// To change what is no index: neither path nor identity.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Entry> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(id, entry)| Some((id as Id, entry.as_ref()?)))
    }

    /// Those at the places from that one on, at most so many places; `None` behind the last.
    pub fn from(&self, place: Id, most: u32) -> Option<impl Iterator<Item = &Entry>> {
        let slots = self.slots.get(place as usize..).filter(|slots| !slots.is_empty())?;
        Some(slots.iter().take(most as usize).flatten())
    }

    pub fn by_path(&self, path: &Path) -> Option<Id> {
        let path = path.as_os_str().as_bytes();
        let hash = self.state.hash_one(path);
        self.by_path.find(hash, |id| slot(&self.slots, *id).is_some_and(|entry| *entry.path == *path)).copied()
    }

    /// An entry of those that are meant with this content, under whatever name; one that is there before one that is gone.
    pub fn by_stat(&self, stat: &Stat, is_meant: impl Fn(&Id) -> bool) -> Option<Id> {
        let is_same = |id: &Id| self.get(*id).is_some_and(|entry| entry.stat.is_same_file(stat));
        let same = || self.with_inode(stat).filter(is_same).filter(&is_meant);
        same().find(|id| self.get(*id).is_some_and(|entry| !entry.gone)).or_else(|| same().next())
    }

    /// All entries with this inode: it may have had other contents before.
    pub fn with_inode(&self, stat: &Stat) -> impl Iterator<Item = Id> {
        let (dev, inode) = (stat.dev, stat.inode);
        let hash = hash_of_inode(self.seed, stat);
        let is_it = move |id: &&Id| {
            slot(&self.slots, **id).is_some_and(|entry| (entry.stat.dev, entry.stat.inode) == (dev, inode))
        };
        self.by_inode.iter_hash(hash).filter(is_it).copied()
    }

    /// An entry whose content has this hash.
    pub fn by_hash(&self, content: &Hash) -> Option<Id> {
        let hash = self.state.hash_one(content);
        let is_it = |id: &Id| slot(&self.slots, *id).and_then(|entry| entry.hash.as_deref()) == Some(content);
        self.by_hash.find(hash, is_it).copied()
    }

    /// Adds an entry. The one that has its path goes, and leaves it its place.
    pub fn add(&mut self, entry: Entry) -> Id {
        let Self { slots, free, by_path, state, .. } = self;
        let hash = state.hash_one(&*entry.path);
        let is_it = |id: &Id| slot(slots, *id).is_some_and(|other| other.path == entry.path);
        let id = match by_path.entry(hash, is_it, |id| path_hash(state, slots, *id)) {
            hash_table::Entry::Occupied(found) => *found.get(),
            hash_table::Entry::Vacant(place) => {
                let id = free.pop().unwrap_or(slots.len() as Id);
                place.insert(id);
                if id as usize == slots.len() {
                    slots.push(None);
                }
                id
            }
        };
        let (stat, content) = (entry.stat, entry.hash.clone());
        let is_known = match self.get(id) {
            Some(old) => {
                let is_same = old.stat == stat;
                if !is_same {
                    self.unindex_inode(id);
                }
                self.unindex_hash(id);
                is_same
            }
            None => false,
        };
        self.slots[id as usize] = Some(entry);
        if !is_known {
            self.index_inode(id, &stat);
        }
        if let Some(content) = content {
            self.index_hash(id, &content);
        }
        id
    }

    /// Takes an entry away.
    pub fn remove(&mut self, id: Id) -> Option<Entry> {
        self.unindex_path(id);
        self.unindex_inode(id);
        self.unindex_hash(id);
        let entry = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(entry)
    }

    /// The entry has another path from now on, at which none is.
    pub fn rename(&mut self, id: Id, path: &Path) {
        self.unindex_path(id);
        if let Some(entry) = self.get_mut(id) {
            entry.path = path.as_os_str().as_bytes().into();
        }
        self.index_path(id);
    }

    /// The entry is about another content from now on.
    pub fn set_stat(&mut self, id: Id, stat: Stat) {
        if self.get(id).is_some_and(|entry| entry.stat == stat) {
            return;
        }
        self.unindex_inode(id);
        if let Some(entry) = self.get_mut(id) {
            entry.stat = stat;
        }
        self.index_inode(id, &stat);
    }

    /// The entry is about no content any more.
    pub fn forget_content(&mut self, id: Id) {
        self.set_stat(id, Stat::default());
        self.forget_hash(id);
    }

    pub fn set_hash(&mut self, id: Id, content: Hash) {
        self.unindex_hash(id);
        if let Some(entry) = self.get_mut(id) {
            entry.hash = Some(Box::new(content));
        }
        self.index_hash(id, &content);
    }

    /// The content of that hash was not run for.
    pub fn forget_hash(&mut self, id: Id) {
        self.unindex_hash(id);
        if let Some(entry) = self.get_mut(id) {
            entry.hash = None;
        }
    }

    fn index_path(&mut self, id: Id) {
        let Self { slots, by_path, state, .. } = self;
        let hash = path_hash(state, slots, id);
        by_path.insert_unique(hash, id, |id| path_hash(state, slots, *id));
    }

    fn unindex_path(&mut self, id: Id) {
        let Self { slots, by_path, state, .. } = self;
        if let Ok(found) = by_path.find_entry(path_hash(state, slots, id), |other| *other == id) {
            found.remove();
        }
    }

    /// Those that are about no content are not found by it: there may be many of them.
    fn index_inode(&mut self, id: Id, stat: &Stat) {
        if *stat == Stat::default() {
            return;
        }
        let Self { slots, by_inode, seed, .. } = self;
        by_inode.insert_unique(hash_of_inode(*seed, stat), id, |id| inode_hash(*seed, slots, *id));
    }

    fn unindex_inode(&mut self, id: Id) {
        let Self { slots, by_inode, seed, .. } = self;
        if let Ok(found) = by_inode.find_entry(inode_hash(*seed, slots, id), |other| *other == id) {
            found.remove();
        }
    }

    fn index_hash(&mut self, id: Id, content: &Hash) {
        let Self { slots, by_hash, state, .. } = self;
        let content_of = |id: &Id| slot(slots, *id).and_then(|entry| entry.hash.as_deref());
        let hash = state.hash_one(content);
        match by_hash.find_mut(hash, |other| content_of(other) == Some(content)) {
            Some(other) => *other = id,
            None => {
                by_hash.insert_unique(hash, id, |id| state.hash_one(content_of(id).unwrap_or(&[0; 32])));
            }
        }
    }

    fn unindex_hash(&mut self, id: Id) {
        let Self { slots, by_hash, state, .. } = self;
        let Some(content) = slot(slots, id).and_then(|entry| entry.hash.as_deref()) else { return };
        if let Ok(found) = by_hash.find_entry(state.hash_one(content), |other| *other == id) {
            found.remove();
        }
    }
}

fn path_hash(state: &RandomState, slots: &[Option<Entry>], id: Id) -> u64 {
    slot(slots, id).map_or(0, |entry| state.hash_one(&*entry.path))
}

fn inode_hash(seed: Seed, slots: &[Option<Entry>], id: Id) -> u64 {
    slot(slots, id).map_or(0, |entry| hash_of_inode(seed, &entry.stat))
}

fn hash_of_inode(seed: Seed, stat: &Stat) -> u64 {
    mixed(mixed(seed.0 ^ stat.inode) ^ stat.dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_stat(entries: &Entries, stat: &Stat) -> Option<Id> {
        entries.by_stat(stat, |_| true)
    }
    use crate::model::FileEvent;
    use crate::watch::entry::State;

    fn entry(path: &str, inode: u64) -> Entry {
        let stat = Stat { dev: 1, inode, size: 5, mtime: 7, born: 0 };
        Entry { stat, ..Entry::new(Path::new(path), FileEvent::Created, 0) }
    }

    #[test]
    fn an_entry_is_found_by_all_that_is_known_of_it() {
        let mut entries = Entries::default();
        let ids: Vec<Id> = (0..1_000).map(|n| entries.add(entry(&format!("/in/{n}"), n))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(entries.by_path(Path::new(&format!("/in/{n}"))), Some(*id));
            assert_eq!(by_stat(&entries, &Stat { dev: 1, inode: n as u64, size: 5, mtime: 7, born: 0 }), Some(*id));
        }
        assert_eq!(
            by_stat(&entries, &Stat { dev: 1, inode: 3, size: 6, mtime: 7, born: 0 }),
            None,
            "the inode has other content"
        );
        entries.rename(ids[3], Path::new("/out/3"));
        assert_eq!(entries.by_path(Path::new("/in/3")), None);
        assert_eq!(entries.by_path(Path::new("/out/3")), Some(ids[3]));
        let other = Stat { dev: 1, inode: 9_000, size: 1, mtime: 1, born: 0 };
        entries.set_stat(ids[3], other);
        assert_eq!(by_stat(&entries, &other), Some(ids[3]));
        assert_eq!(by_stat(&entries, &Stat { dev: 1, inode: 3, size: 5, mtime: 7, born: 0 }), None);
        entries.set_hash(ids[4], [7; 32]);
        assert_eq!(entries.by_hash(&[7; 32]), Some(ids[4]));
        assert_eq!(entries.remove(ids[4]).map(|entry| entry.path().to_path_buf()), Some("/in/4".into()));
        assert_eq!((entries.by_hash(&[7; 32]), entries.by_path(Path::new("/in/4"))), (None, None));
        assert_eq!(entries.len(), 999);
        // An inode may have had another content before.
        let mut before = entry("/in/before", 10);
        (before.stat.size, before.gone) = (6, true);
        let before = entries.add(before);
        let stat = entries.get(ids[10]).unwrap().stat;
        assert_eq!((by_stat(&entries, &stat), entries.with_inode(&stat).count()), (Some(ids[10]), 2));
        assert_eq!(by_stat(&entries, &Stat { size: 6, ..stat }), Some(before));
        entries.remove(ids[10]);
        assert_eq!((by_stat(&entries, &stat), entries.with_inode(&stat).count()), (None, 1));
        // What comes to the same path takes the place of what was there.
        entries.set_hash(ids[20], [8; 32]);
        let (old, count) = (entries.get(ids[20]).unwrap().stat, entries.len());
        let new = Entry { hash: Some(Box::new([9; 32])), ..entry("/in/20", 20_000) };
        assert_eq!((entries.add(new.clone()), entries.len()), (ids[20], count));
        assert_eq!((by_stat(&entries, &old), by_stat(&entries, &new.stat)), (None, Some(ids[20])));
        assert_eq!((entries.by_hash(&[8; 32]), entries.by_hash(&[9; 32])), (None, Some(ids[20])));
        entries.add(Entry { hash: None, state: State::Done, ..new.clone() });
        assert_eq!((entries.by_hash(&[9; 32]), entries.with_inode(&new.stat).count()), (None, 1));
    }
}
