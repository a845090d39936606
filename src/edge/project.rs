//! A project: its keys and its CORS configuration, as in `PROJECT_KEYS`, in the KV namespace `PROJECTS`, and at
//! a JWKS endpoint.

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::Hs256Key;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::cors::Cors;
use crate::protocol::names::RESERVED_SEGMENTS;

/// The shortest HS256 key (RFC 7518, 3.2) and RS256 modulus (3.3), in bytes.
const SECRET_MIN_BYTES: usize = 32;
const MODULUS_MIN_BYTES: usize = 256;

/// The most keys that one project or JWKS endpoint may have.
pub const KEYS_MAX: usize = 32;

/// The longest project name in tokens, in bytes; a KV key has at most 512.
pub const NAME_MAX_BYTES: usize = 256;

/// Signature algorithms. The key decides the algorithm, and the token's header must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA, PKCS 1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    EdDsa,
}

impl Algorithm {
    /// Parses the `alg` of a token's header or of a key.
    pub fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

pub struct Key {
    /// `kid`, which tokens use to name the key.
    pub kid: Option<String>,
    pub material: Material,
}

pub enum Material {
    Secret(Hs256Key),
    /// A public key: the relevant members of a JSON Web Key, as JSON.
    Public {
        /// The only algorithm of this key.
        algorithm: Algorithm,
        jwk: String,
    },
}

impl Key {
    /// The only algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Public { algorithm, .. } => *algorithm,
        }
    }
}

pub struct Project {
    /// The keys in its configuration.
    pub keys: Vec<Rc<Key>>,
    /// The JWKS endpoint of further public keys.
    pub jwks_url: Option<String>,
    /// The required `iss` of its tokens, if any.
    pub issuer: Option<String>,
    /// The required `aud` of its tokens, if any.
    pub audience: Option<String>,
    /// Its own CORS configuration, if it overrides the deployment's.
    pub cors: Option<Cors>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    keys: Vec<Jwk>,
    jwks_url: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    cors: Option<CorsText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorsText {
    origins: Vec<String>,
    #[serde(default)]
    credentials: bool,
}

/// A JSON Web Key (RFC 7517); other members are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Box<RawValue>>,
}

/// Parses `PROJECT_KEYS`: projects by name. Error messages contain no secrets.
pub fn parse_all(text: &str) -> Result<HashMap<String, Rc<Project>>, String> {
    let texts: HashMap<String, Box<RawValue>> = serde_json::from_str(text)
        .map_err(|_| "PROJECT_KEYS must be a JSON object of projects by name".to_owned())?;
    let named = |name: String, text: Box<RawValue>| {
        if RESERVED_SEGMENTS.contains(&name.as_str()) {
            return Err(format!("PROJECT_KEYS: {name} is the server's own: give the project another name"));
        }
        let project =
            Project::parse(text.get()).map_err(|why| format!("PROJECT_KEYS, project {name}: {why}"))?;
        Ok((name, Rc::new(project)))
    };
    texts.into_iter().map(|(name, text)| named(name, text)).collect()
}

impl Project {
    pub fn parse(text: &str) -> Result<Project, String> {
        let shape = "it must have keys (JSON Web Keys) or jwks_url, and may have issuer, audience and cors";
        // The parser's message could quote a secret.
        let text: Text = serde_json::from_str(text).map_err(|_| shape.to_owned())?;
        if text.keys.is_empty() && text.jwks_url.is_none() {
            return Err(shape.to_owned());
        }
        if text.jwks_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err("jwks_url must begin with https://".to_owned());
        }
        let count = text.keys.len();
        if count > KEYS_MAX || count > 1 && text.keys.iter().any(|key| key.kid.is_none()) {
            return Err(format!("it has at most {KEYS_MAX} keys, and each has a kid if there are several"));
        }
        let keys = text.keys.iter().map(|jwk| Key::of(jwk).map(Rc::new)).collect::<Result<_, _>>()?;
        let cors = text.cors.map(|cors| Cors::listed(&cors.origins, cors.credentials));
        Ok(Project { keys, jwks_url: text.jwks_url, issuer: text.issuer, audience: text.audience, cors })
    }
}

/// Parses a JWKS. Ignores secret keys, and keys that this server does not support.
pub fn parse_public(text: &str) -> Option<Vec<Rc<Key>>> {
    let set: JwkSet = serde_json::from_str(text).ok()?;
    let keys = set.keys.into_iter().take(KEYS_MAX).filter_map(|jwk| {
        let key = Key::of(&serde_json::from_str(jwk.get()).ok()?).ok()?;
        matches!(key.material, Material::Public { .. }).then(|| Rc::new(key))
    });
    Some(keys.collect())
}

impl Key {
    fn of(jwk: &Jwk) -> Result<Key, String> {
        let material = Material::of(jwk)?;
        let key = Key { kid: jwk.kid.clone(), material };
        let agrees = |alg: &String| Algorithm::parse(alg) == Some(key.algorithm());
        if jwk.alg.as_ref().is_some_and(|alg| !agrees(alg)) {
            return Err("a key's alg must match its kty".to_owned());
        }
        if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err("a key's use must be sig".to_owned());
        }
        Ok(key)
    }
}

impl Material {
    fn of(jwk: &Jwk) -> Result<Material, String> {
        let part = |part: &Option<String>| {
            let bytes = part.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.ok_or_else(|| "a part of a key is missing, or is not base64url".to_owned())
        };
        let Jwk { crv, k, n, e, x, y, .. } = jwk;
        let (algorithm, jwk) = match (jwk.kty.as_deref(), crv.as_deref()) {
            (Some("oct"), _) => {
                let secret = part(k)?;
                if secret.len() < SECRET_MIN_BYTES {
                    return Err(format!("a key of kty oct must have {SECRET_MIN_BYTES} bytes or more"));
                }
                return Ok(Material::Secret(Hs256Key::new(secret)));
            }
            (Some("RSA"), _) => {
                let modulus = part(n)?;
                part(e)?;
                if modulus.iter().skip_while(|byte| **byte == 0).count() < MODULUS_MIN_BYTES {
                    return Err("a key of kty RSA must have 2048 bits or more".to_owned());
                }
                (Algorithm::Rs256, json!({ "kty": "RSA", "n": n, "e": e }))
            }
            (Some("EC"), Some("P-256")) => {
                part(x)?;
                part(y)?;
                (Algorithm::Es256, json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }))
            }
            (Some("OKP"), Some("Ed25519")) => {
                part(x)?;
                (Algorithm::EdDsa, json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
            }
            _ => return Err("a key must be oct, RSA, EC with P-256, or OKP with Ed25519".to_owned()),
        };
        Ok(Material::Public { algorithm, jwk: jwk.to_string() })
    }
}
