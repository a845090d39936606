//! Limits the cost of clients without a token where streams can be public. Only an object knows whether its
//! stream is public, so each invented name loads an object. Each address may cause only so many such reads per
//! minute. Requests with invented wake tokens count too: only the subscription's object has their key.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::kept::Kept;
use crate::protocol::Millis;
use crate::protocol::refusal::Refusal;

/// How long a miss counts, in milliseconds.
pub const MISSES_PERIOD: Millis = 60_000;
/// The most reads per address and period that find no public stream, including those in flight.
pub const MISSES_MAX: usize = 60;
pub const ADDRESSES_KEPT_MAX: usize = 1024;

/// The most cached names of streams that were public recently.
pub const FOUND_KEPT_MAX: usize = 1024;

/// The misses of each address.
pub struct Strangers {
    addresses: Kept<Counted>,
    /// Streams known to be public, whose reads are not limited.
    found: Kept<()>,
}

/// The reads of one address in its period.
#[derive(Default)]
struct Counted {
    misses: usize,
    /// The streams of its reads in flight, each once and as a hash: all of them may be misses.
    asking: Vec<u64>,
}

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers { addresses: Kept::new(ADDRESSES_KEPT_MAX), found: Kept::new(FOUND_KEPT_MAX) }
    }
}

impl Strangers {
    /// Records a read before it goes to an object. Refuses it if the address has no misses left.
    pub fn ask(&mut self, address: &str, path: &str, now: Millis) -> Result<(), Refusal> {
        if self.is_found(path, now) {
            return Ok(());
        }
        let left = self.begin(address, now);
        let Some(counted) = self.addresses.find_mut(address) else { return Ok(()) };
        let stream = hash(path);
        if counted.asking.contains(&stream) {
            return Ok(());
        }
        if counted.misses + counted.asking.len() >= MISSES_MAX {
            return Err(Refusal::TooManyRequests { after_seconds: left.div_ceil(1000) });
        }
        counted.asking.push(stream);
        Ok(())
    }

    /// Refuses a request with a wake token if its address has no misses left. Requests in flight do not count: many
    /// workers may share an address, and a subscription answers an invalid token at once.
    pub fn check(&mut self, address: &str, subscription: &str, now: Millis) -> Result<(), Refusal> {
        if self.is_found(subscription, now) {
            return Ok(());
        }
        let left = self.begin(address, now);
        match self.addresses.find_mut(address) {
            Some(counted) if counted.misses >= MISSES_MAX => {
                Err(Refusal::TooManyRequests { after_seconds: left.div_ceil(1000) })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_found(&mut self, path: &str, now: Millis) -> bool {
        self.found.find(path, now).is_some_and(|(_, age)| age < MISSES_PERIOD)
    }

    /// Begins the period of an address, unless it has one. Returns the time left.
    fn begin(&mut self, address: &str, now: Millis) -> Millis {
        let age = self.addresses.find(address, now).map(|(_, age)| age).filter(|age| *age < MISSES_PERIOD);
        if age.is_none() {
            self.addresses.keep(address, Counted::default(), now);
        }
        MISSES_PERIOD - age.unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.addresses.count()
    }

    /// Records the object's answer.
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
