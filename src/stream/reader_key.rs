//! Reader keys: a reader of a private stream adds the key to its URL, so that caches may store the response. A
//! key is derived from the stream's secret and the hour. It is valid in that hour and the next. The secret
//! never leaves the object.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::protocol::Millis;

/// The period of a key, in milliseconds. All readers share a key during it, so one cached response serves them
/// all.
pub const KEY_PERIOD: Millis = 3_600_000;

/// The length of a key: 128 bits of the hash, which cannot be guessed.
const KEY_BYTES: usize = 16;

/// The prefix of a secret. Versions before hourly keys gave the secret itself to readers and stored it without
/// the prefix. Such a secret makes no keys, and the next PUT replaces it.
const SECRET_PREFIX: &str = "h.";

/// Makes the secret of a stream from random text.
pub fn secret(random: &str) -> String {
    format!("{SECRET_PREFIX}{random}")
}

/// Whether keys may be derived from a stored secret.
pub fn is_secret(stored: &str) -> bool {
    stored.starts_with(SECRET_PREFIX)
}

/// The key of the current hour; `None` if the secret makes no keys.
pub fn current(secret: &str, now: Millis) -> Option<String> {
    is_secret(secret).then(|| key(secret, now / KEY_PERIOD))
}

/// Whether a key is that of the current or the previous hour.
pub fn is_valid(secret: &str, given: &str, now: Millis) -> bool {
    let hour = now / KEY_PERIOD;
    let is_of = |hour| key(secret, hour).as_bytes().ct_eq(given.as_bytes()).into();
    is_secret(secret) && (is_of(hour) || is_of(hour.saturating_sub(1)))
}

fn key(secret: &str, hour: u64) -> String {
    let mut hash =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC accepts keys of any length");
    hash.update(&hour.to_be_bytes());
    URL_SAFE_NO_PAD.encode(&hash.finalize().into_bytes()[..KEY_BYTES])
}
