//! The Ed25519 keys that sign webhooks (PROTOCOL.md 6.5). One key signs at a time; keys are rotated by age.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::protocol::Millis;

/// The age of the newest key at which the server generates the next one.
pub const KEY_MAX_AGE: Millis = 90 * 24 * 3_600_000;
/// How long a new key is published before it signs. Receivers cache the key set for five minutes.
pub const KEY_PUBLISHED_BEFORE: Millis = 10 * 60_000;
/// How long a key stays published after its last signature.
pub const KEY_PUBLISHED_AFTER: Millis = 24 * 3_600_000;
/// How long an object may use a signing key before it requests the key again. Shorter than [`KEY_PUBLISHED_AFTER`].
pub const SIGNING_KEY_VALID: Millis = 10 * 60_000;

/// A public key, as a member of a JWK Set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublicKey {
    pub kid: String,
    /// The public part, in base64url.
    pub x: String,
}

/// A private key. Only the registry's object and a subscription's object ever have it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    pub kid: String,
    pub x: String,
    /// The private part, in base64url.
    pub d: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The JWK Set that contains these keys.
pub fn key_set(keys: &[PublicKey]) -> Value {
    let jwk = |PublicKey { kid, x }: &PublicKey| json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x });
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() })
}
