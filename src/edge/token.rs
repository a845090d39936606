//! Signed tokens (RFC 7519): parses them, verifies them with a key, and converts them into grants.

use std::rc::Rc;

use jwt_compact::alg::Hs256;
use jwt_compact::{AlgorithmExt as _, Claims, Empty, UntrustedToken};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::grant::{Grant, Streams, scopes};
use super::project::{Algorithm, Key, Material, NAME_MAX_BYTES, Project};
use crate::protocol::Millis;

/// The longest accepted token, in bytes: ten times the size of a typical one.
pub const TOKEN_MAX_BYTES: usize = 8 << 10;

/// The tolerated clock skew of a token's issuer for `nbf`, in milliseconds.
const CLOCK_SKEW: Millis = 5_000;

/// A token that is not verified yet.
pub struct Token<'t> {
    untrusted: UntrustedToken<'t, Extensions>,
    text: &'t str,
    algorithm: Algorithm,
    claims: Claims<Ours>,
}

/// Optional members of the header.
#[derive(Clone, Deserialize)]
struct Extensions {
    /// Critical extensions: the server supports none.
    crit: Option<IgnoredAny>,
}

/// The claims, apart from the times.
#[derive(Deserialize)]
struct Ours {
    sub: String,
    #[serde(default, deserialize_with = "given")]
    scope: Option<Words>,
    #[serde(default, deserialize_with = "given")]
    scp: Option<Words>,
    #[serde(default, deserialize_with = "given")]
    stream: Option<String>,
    #[serde(default, deserialize_with = "given")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "given")]
    aud: Option<Audiences>,
}

/// A list of words: one text with spaces, or an array.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Joined(String),
    Listed(Vec<String>),
    /// A value of another type, which contains no known word.
    Other(IgnoredAny),
}

impl Words {
    fn has(&self, word: &str) -> bool {
        match self {
            Words::Joined(text) => text.split(' ').any(|found| found == word),
            Words::Listed(words) => words.iter().any(|found| found == word),
            Words::Other(_) => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// A claim that is present must have its type: a `stream` of null is invalid, not absent.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A signature that the platform must verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub algorithm: Algorithm,
    /// The key as a JSON Web Key.
    pub jwk: String,
    pub message: String,
    pub signature: Vec<u8>,
    /// The token's grant if the signature is right.
    pub grant: Grant,
}

/// The result of comparing a token with a key.
pub enum Seal {
    Whole,
    Broken,
    /// The platform must verify it.
    Unseen(Signed),
}

impl<'t> Token<'t> {
    /// Parses a token; `None` if no key could verify it.
    pub fn parse(text: &'t str) -> Option<Token<'t>> {
        if text.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let untrusted = UntrustedToken::<Extensions>::try_from(text).ok()?;
        if untrusted.header().other_fields.crit.is_some() {
            return None;
        }
        let algorithm = Algorithm::parse(untrusted.algorithm())?;
        let claims: Claims<Ours> = untrusted.deserialize_claims_unchecked().ok()?;
        let project = &claims.custom.sub;
        let is_name = !project.is_empty() && project.len() <= NAME_MAX_BYTES && !project.contains('/');
        is_name.then_some(Token { untrusted, text, algorithm, claims })
    }

    /// The project whose keys verify the token.
    pub fn project(&self) -> &str {
        &self.claims.custom.sub
    }

    /// Whether its key can verify without being able to sign.
    pub fn is_public(&self) -> bool {
        self.algorithm != Algorithm::Hs256
    }

    /// Whether it names its key.
    pub fn names_key(&self) -> bool {
        self.untrusted.header().key_id.is_some()
    }

    /// The key that it names; without a name, the only key.
    pub fn key<'k>(&self, keys: &'k [Rc<Key>]) -> Option<&'k Rc<Key>> {
        let key = match (&self.untrusted.header().key_id, keys) {
            (Some(kid), _) => keys.iter().find(|key| key.kid.as_ref() == Some(kid) && self.fits(key)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        key.filter(|key| self.fits(key))
    }

    fn fits(&self, key: &Key) -> bool {
        key.algorithm() == self.algorithm
    }

    /// The token's grant, once verified. `None` if it has expired, is not valid yet, or has another audience or
    /// issuer.
    pub fn grant(&self, project: &Project, now: Millis) -> Option<Grant> {
        let millis = |at: chrono::DateTime<chrono::Utc>| Millis::try_from(at.timestamp_millis()).ok();
        let expires_at = millis(self.claims.expiration?)?;
        let begins_at = match self.claims.not_before {
            Some(at) => millis(at)?,
            None => 0,
        };
        let Ours { sub, scope, scp, stream, iss, aud } = &self.claims.custom;
        let is_ours = match (aud, &project.audience) {
            (None, None) => true,
            (Some(Audiences::One(one)), Some(ours)) => one == ours,
            (Some(Audiences::Several(several)), Some(ours)) => several.contains(ours),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let is_issued = project.issuer.is_none() || project.issuer == *iss;
        if now >= expires_at || now + CLOCK_SKEW < begins_at || !is_ours || !is_issued {
            return None;
        }
        Some(Grant {
            project: Some(sub.clone()),
            // Identity providers that use `scp` never send `scope`.
            scopes: scope
                .as_ref()
                .or(scp.as_ref())
                .map_or_else(Vec::new, |words| scopes(|word| words.has(word))),
            streams: stream.as_deref().map_or(Streams::All, Streams::parse),
            expires_at: Some(expires_at),
        })
    }

    /// Verifies the signature with a key, or returns the data for the platform to verify.
    pub fn seal(&self, key: &Key, grant: Grant) -> Seal {
        match &key.material {
            Material::Secret(secret) => match Hs256.validator::<Empty>(secret).validate(&self.untrusted) {
                Ok(_) => Seal::Whole,
                Err(_) => Seal::Broken,
            },
            Material::Public { algorithm, jwk } => Seal::Unseen(Signed {
                algorithm: *algorithm,
                jwk: jwk.clone(),
                message: self.text.rsplit_once('.').map_or(self.text, |(message, _)| message).to_owned(),
                signature: self.untrusted.signature_bytes().to_vec(),
                grant,
            }),
        }
    }
}
