//! Signed tokens (RFC 7519): taken apart, held against a key, and turned into what they allow.

use std::rc::Rc;

use jwt_compact::alg::Hs256;
use jwt_compact::{AlgorithmExt as _, Claims, Empty, UntrustedToken};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::grant::{Grant, Streams, scopes};
use super::project::{Algorithm, Key, Material, NAME_MAX_BYTES, Project};
use crate::protocol::Millis;

/// The longest token that is looked at: ten times what one of ours has.
pub const TOKEN_MAX_BYTES: usize = 8 << 10;

/// How far the clock of whoever made a token may be ahead.
const CLOCK_SKEW: Millis = 5_000;

/// A token of which nothing has been verified.
pub struct Token<'t> {
    untrusted: UntrustedToken<'t, Extensions>,
    text: &'t str,
    algorithm: Algorithm,
    claims: Claims<Ours>,
}

/// What a header may have besides.
#[derive(Clone, Deserialize)]
struct Extensions {
    /// Extensions that must be understood; there are none that are.
    crit: Option<IgnoredAny>,
}

/// The claims besides the times.
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

/// Words, in one text with spaces or one by one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Joined(String),
    Listed(Vec<String>),
    /// Something else, in which no word is known.
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

/// What is there must be of its type: a `stream` of null is not the same as none.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A signature that somebody else has to verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub algorithm: Algorithm,
    /// The key, as a JSON Web Key.
    pub jwk: String,
    pub message: String,
    pub signature: Vec<u8>,
    /// What the token allows if it is right.
    pub grant: Grant,
}

/// What a key says of a token.
pub enum Seal {
    Whole,
    Broken,
    /// It cannot be seen here.
    Unseen(Signed),
}

impl<'t> Token<'t> {
    /// Takes a token apart; `None` for what nobody could verify.
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

    /// Whose keys are to be asked.
    pub fn project(&self) -> &str {
        &self.claims.custom.sub
    }

    /// Whether others can verify it than those who can sign it.
    pub fn is_public(&self) -> bool {
        self.algorithm != Algorithm::Hs256
    }

    /// Whether a key server could know its key.
    pub fn names_key(&self) -> bool {
        self.untrusted.header().key_id.is_some()
    }

    /// The key it names among these; without a name, the only one there is.
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

    /// What it allows, once it is verified; `None` where its time is over or has not come, or it is for others.
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
            // Identity providers that call the claim `scp` have no other.
            scopes: scope
                .as_ref()
                .or(scp.as_ref())
                .map_or_else(Vec::new, |words| scopes(|word| words.has(word))),
            streams: stream.as_deref().map_or(Streams::All, Streams::parse),
            expires_at: Some(expires_at),
        })
    }

    /// Holds it against its key.
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
