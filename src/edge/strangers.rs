//! What strangers cost where streams can be public: only an object knows whether its stream is, so each name that a stranger
//! makes up loads an object. Of each address only so many such reads in a minute reach one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::kept::Kept;
use crate::protocol::Millis;
use crate::protocol::refusal::Refusal;

/// For how long misses count.
pub const MISSES_PERIOD: Millis = 60_000;
/// How many reads of an address may find nothing public in that time, with those that are under way.
pub const MISSES_MAX: usize = 60;
/// How many addresses are counted.
pub const ADDRESSES_KEPT_MAX: usize = 1024;

/// How many streams are remembered that were public a moment ago.
pub const FOUND_KEPT_MAX: usize = 1024;

/// How many reads of each address found nothing public.
pub struct Strangers {
    addresses: Kept<Counted>,
    /// What strangers may read anyway: as many of these as they like.
    found: Kept<()>,
}

/// What one address did in its period.
#[derive(Default)]
struct Counted {
    misses: usize,
    /// The streams that it is asking for, each once and as a hash: they may all be misses.
    asking: Vec<u64>,
}

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers { addresses: Kept::new(ADDRESSES_KEPT_MAX), found: Kept::new(FOUND_KEPT_MAX) }
    }
}

impl Strangers {
    /// A stranger is about to ask an object.
    pub fn ask(&mut self, address: &str, path: &str, now: Millis) -> Result<(), Refusal> {
        if self.found.find(path, now).is_some_and(|(_, age)| age < MISSES_PERIOD) {
            return Ok(());
        }
        let age = self.addresses.find(address, now).map(|(_, age)| age).filter(|age| *age < MISSES_PERIOD);
        if age.is_none() {
            self.addresses.keep(address, Counted::default(), now);
        }
        let Some(counted) = self.addresses.find_mut(address) else { return Ok(()) };
        let stream = hash(path);
        if counted.asking.contains(&stream) {
            return Ok(());
        }
        if counted.misses + counted.asking.len() >= MISSES_MAX {
            let left = MISSES_PERIOD - age.unwrap_or_default();
            return Err(Refusal::TooManyRequests { after_seconds: left.div_ceil(1000) });
        }
        counted.asking.push(stream);
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.addresses.count()
    }

    /// The object has answered.
    pub fn answered(&mut self, address: &str, path: &str, is_miss: bool, now: Millis) {
        if is_miss {
            self.found.forget(path);
        } else {
            self.found.keep(path, (), now);
        }
        let Some(counted) = self.addresses.find_mut(address) else { return };
        let stream = hash(path);
        counted.asking.retain(|asked| *asked != stream);
        counted.misses += usize::from(is_miss);
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
