//! Wake tokens authenticate a webhook's callback and a worker's ack (PROTOCOL.md 12.9). A token is valid for one
//! generation of one subscription. Its form is `<claims>.<HMAC-SHA256>`, both in base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::protocol::Millis;

/// How long a token is valid. The lease limits the wake; this only limits the use of a leaked token.
pub const TOKEN_VALID: Millis = 24 * 3_600_000;

/// The longest text parsed as a token, in bytes.
pub const WAKE_TOKEN_MAX_BYTES: usize = 4096;

/// The length of HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;

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

    /// Whether a token may be one of this subscription. Only the key of the subscription can tell whether it is.
    pub fn may_be_of(object: &str, token: &str) -> bool {
        if token.len() > WAKE_TOKEN_MAX_BYTES {
            return false;
        }
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let Some((claims, signature)) = token.split_once('.') else { return false };
        let claims = decoded(claims).and_then(|json| serde_json::from_slice::<WakeClaims>(&json).ok());
        let is_signature = decoded(signature).is_some_and(|bytes| bytes.len() == SIGNATURE_BYTES);
        is_signature && claims.is_some_and(|claims| claims.subscription == object)
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

/// The hash of a text under a key.
pub fn hash(key: &str, text: &str) -> Hmac<Sha256> {
    let mut hash = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    hash.update(text.as_bytes());
    hash
}
