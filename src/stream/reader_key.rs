//! Reader keys: a reader of a private stream puts the key into its URL, so that caches may keep the response. A key is made of
//! the stream's secret and of the hour, and is valid in that hour and the next. The secret never leaves the object.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::protocol::Millis;

/// How often keys change. All readers of an hour have the same key, so a cache can answer them all.
pub const KEY_PERIOD: Millis = 3_600_000;

/// How much of the hash is the key: 128 bits, which cannot be guessed.
const KEY_BYTES: usize = 16;

/// What a secret begins with. Versions without reader keys of an hour gave the secret itself to readers, and stored it
/// without this: it makes no keys, and the next PUT replaces it.
const SECRET_PREFIX: &str = "h.";

/// The secret of a stream, made of a random text.
pub fn secret(random: &str) -> String {
    format!("{SECRET_PREFIX}{random}")
}

/// Whether a stored secret makes keys.
pub fn is_secret(stored: &str) -> bool {
    stored.starts_with(SECRET_PREFIX)
}

/// The key that readers get now.
pub fn current(secret: &str, now: Millis) -> Option<String> {
    is_secret(secret).then(|| key(secret, now / KEY_PERIOD))
}

/// Whether a key is of this hour or the last.
pub fn is_valid(secret: &str, given: &str, now: Millis) -> bool {
    let hour = now / KEY_PERIOD;
    let is_of = |hour| key(secret, hour).as_bytes().ct_eq(given.as_bytes()).into();
    is_secret(secret) && (is_of(hour) || is_of(hour.saturating_sub(1)))
}

fn key(secret: &str, hour: u64) -> String {
    let mut hash = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    hash.update(&hour.to_be_bytes());
    URL_SAFE_NO_PAD.encode(&hash.finalize().into_bytes()[..KEY_BYTES])
}
