//! Wake tokens authenticate a webhook's callback and a worker's ack (PROTOCOL.md 12.9). A token is valid for one
//! generation of one subscription. Its form is `<claims>.<HMAC-SHA256>`, both in base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{State, Subscription};
use crate::protocol::Millis;

/// How long a token is valid. The lease limits the wake; this only limits the use of a leaked token.
pub const TOKEN_VALID: Millis = 24 * 3_600_000;

/// The longest text parsed as a token, in bytes.
pub const WAKE_TOKEN_MAX_BYTES: usize = 4096;

/// The length of a wake's id, in bytes of a hash.
const WAKE_ID_BYTES: usize = 12;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WakeClaims {
    /// The name of the subscription's object.
    #[serde(rename = "s")]
    pub subscription: String,
    #[serde(rename = "i")]
    pub incarnation: u64,
    #[serde(rename = "g")]
    pub generation: u64,
    #[serde(rename = "e")]
    pub expires_at: Millis,
}

impl WakeClaims {
    /// Makes the token. Each subscription has its own key.
    pub fn sign(&self, key: &str) -> String {
        let claims = serde_json::to_vec(self).expect("claims are numbers and texts");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signature = URL_SAFE_NO_PAD.encode(hash(key, &claims).finalize().into_bytes());
        format!("{claims}.{signature}")
    }

    /// Verifies a token made with this key; `None` for any other text. Every wrong signature takes the same time.
    pub fn verify(key: &str, token: &str) -> Option<WakeClaims> {
        if token.len() > WAKE_TOKEN_MAX_BYTES {
            return None;
        }
        let (claims, signature) = token.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hash(key, claims).verify_slice(&signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

fn hash(key: &str, claims: &str) -> Hmac<Sha256> {
    let mut hash = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    hash.update(claims.as_bytes());
    hash
}

impl Subscription {
    /// The id of the current generation's wake. It is unique, and cannot be guessed without the key.
    pub(super) fn wake_id(&self) -> String {
        let derived = self.derived("wake");
        let digits = derived[..WAKE_ID_BYTES].iter().map(|byte| format!("{byte:02x}"));
        format!("w_{}", digits.collect::<String>())
    }

    /// A number for the jitter of the next retry.
    pub(super) fn jitter(&self) -> u64 {
        let derived = self.derived(&format!("retry {}", self.state.failures));
        derived[..6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Bytes that look random but follow from the state, so that the same history always takes the same course.
    fn derived(&self, what: &str) -> [u8; 32] {
        let State { token_key, incarnation, generation, .. } = &self.state;
        hash(token_key, &format!("{what} {incarnation} {generation}")).finalize().into_bytes().into()
    }
}
