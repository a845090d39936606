//! An isolate's cache of projects, keys and verified tokens. It decides from its content, or says which fact is
//! missing; the caller fetches that and checks again. So there is one decision path, with or without a fetch.

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::cors::Cors;
use super::grant::Grant;
use super::kept::Kept;
use super::project::{Key, Project};
use super::token::{Seal, Signed, Token};
use crate::protocol::Millis;
use crate::protocol::names::RESERVED_SEGMENTS;

/// The most cached projects of the KV namespace.
pub const PROJECTS_KEPT_MAX: usize = 1024;
/// The most cached JWKS endpoints.
pub const KEY_SETS_KEPT_MAX: usize = 256;
/// The most cached tokens with a verified signature.
pub const TOKENS_KEPT_MAX: usize = 4096;

/// How long a project is used before the next look-up, in milliseconds. A revoked key works for up to this
/// time.
pub const PROJECT_KEPT: Millis = 60_000;
/// How long the absence of a project is cached, in milliseconds.
pub const NO_PROJECT_KEPT: Millis = 10_000;
/// How long a cached project is used while KV fails, in milliseconds.
pub const PROJECT_STALE: Millis = 600_000;
/// How long the keys of a JWKS endpoint are used before the next fetch, in milliseconds.
pub const KEY_SET_KEPT: Millis = 300_000;
/// How long these keys are used while the endpoint fails, in milliseconds.
pub const KEY_SET_STALE: Millis = 3_600_000;
/// The least time between two fetches from a JWKS endpoint that failed or lacked a key, in milliseconds.
pub const KEY_SET_ASKED_AGAIN: Millis = 30_000;
/// How long a verified signature is trusted, in milliseconds.
pub const TOKEN_KEPT: Millis = 60_000;
/// How long a wrong signature is cached, in milliseconds. It is short, because the key may have arrived since.
pub const TOKEN_REJECTED_KEPT: Millis = 10_000;

/// The result of checking a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Check {
    Granted(Grant),
    Invalid,
    /// The project must be looked up.
    NeedsProject(String),
    /// The keys at this URL must be fetched.
    NeedsKeys(String),
    /// The signature must be verified.
    NeedsSignature(Box<Signed>),
    /// A look-up or fetch failed a short time ago.
    Unavailable,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Learnt<T> {
    Found(T),
    Nothing,
    Failed,
}

pub struct Keyring {
    has_registry: bool,
    projects: Kept<Rc<Project>>,
    /// Separate from `projects`, so that requests for invented names cannot evict real projects.
    projects_absent: Kept<()>,
    projects_failed: Kept<()>,
    key_sets: Kept<Vec<Rc<Key>>>,
    key_sets_asked: Kept<()>,
    verified: Kept<Grant>,
    rejected: Kept<()>,
}

impl Keyring {
    pub fn new(has_registry: bool) -> Keyring {
        Keyring {
            has_registry,
            projects: Kept::new(PROJECTS_KEPT_MAX),
            projects_absent: Kept::new(PROJECTS_KEPT_MAX),
            projects_failed: Kept::new(PROJECTS_KEPT_MAX),
            key_sets: Kept::new(KEY_SETS_KEPT_MAX),
            key_sets_asked: Kept::new(KEY_SETS_KEPT_MAX),
            verified: Kept::new(TOKENS_KEPT_MAX),
            rejected: Kept::new(TOKENS_KEPT_MAX),
        }
    }

    /// Checks a token against the cache.
    pub fn check(&self, fixed: &HashMap<String, Rc<Project>>, token: &str, now: Millis) -> Check {
        let Some(parsed) = Token::parse(token) else { return Check::Invalid };
        // Reserved paths belong to no project, even if a key is configured for that name.
        if RESERVED_SEGMENTS.contains(&parsed.project()) {
            return Check::Invalid;
        }
        if parsed.is_public()
            && let Some(check) = self.seen(&digest(token), now)
        {
            return check;
        }
        let project = match self.project(fixed, parsed.project(), now) {
            Ok(Some(project)) => project,
            Ok(None) => return Check::Invalid,
            Err(pending) => return pending,
        };
        let Some(grant) = parsed.grant(&project, now) else { return Check::Invalid };
        let key = match self.key(&project, &parsed, now) {
            Ok(Some(key)) => key,
            Ok(None) => return Check::Invalid,
            Err(pending) => return pending,
        };
        match parsed.seal(&key, grant.clone()) {
            Seal::Whole => Check::Granted(grant),
            Seal::Broken => Check::Invalid,
            Seal::Unseen(signed) => Check::NeedsSignature(Box::new(signed)),
        }
    }

    /// The cached result for a token.
    fn seen(&self, digest: &str, now: Millis) -> Option<Check> {
        if let Some((grant, age)) = self.verified.find(digest, now)
            && age < TOKEN_KEPT
        {
            let is_over = grant.expires_at.is_some_and(|at| now >= at);
            return Some(if is_over { Check::Invalid } else { Check::Granted(grant.clone()) });
        }
        let rejected = self.rejected.find(digest, now).filter(|(_, age)| *age < TOKEN_REJECTED_KEPT);
        rejected.map(|_| Check::Invalid)
    }

    /// The CORS configuration of a project, if the project is known and has one.
    pub fn cors<'k>(&'k self, fixed: &'k HashMap<String, Rc<Project>>, project: &str) -> Option<&'k Cors> {
        let kept = || self.projects.find(project, 0).map(|(project, _)| project);
        fixed.get(project).or_else(kept)?.cors.as_ref()
    }

    /// A project; `None` if it does not exist. The error names the missing fact.
    pub fn project(
        &self,
        fixed: &HashMap<String, Rc<Project>>,
        name: &str,
        now: Millis,
    ) -> Result<Option<Rc<Project>>, Check> {
        if let Some(project) = fixed.get(name) {
            return Ok(Some(Rc::clone(project)));
        }
        if !self.has_registry {
            return Ok(None);
        }
        let is_recent = |kept: &Kept<()>| kept.find(name, now).is_some_and(|(_, age)| age < NO_PROJECT_KEPT);
        let failed = is_recent(&self.projects_failed);
        match self.projects.find(name, now) {
            Some((project, age)) if age < PROJECT_KEPT || failed && age < PROJECT_STALE => {
                Ok(Some(Rc::clone(project)))
            }
            _ if is_recent(&self.projects_absent) => Ok(None),
            _ if failed => Err(Check::Unavailable),
            _ => Err(Check::NeedsProject(name.to_owned())),
        }
    }

    /// The key that a token names, from the project or from its JWKS endpoint.
    fn key(&self, project: &Project, token: &Token<'_>, now: Millis) -> Result<Option<Rc<Key>>, Check> {
        let Some(url) = &project.jwks_url else { return Ok(token.key(&project.keys).cloned()) };
        // A JWKS endpoint may always have further keys, so the token must name one.
        if !token.names_key() {
            return Ok(None);
        }
        if let Some(key) = token.key(&project.keys) {
            return Ok(Some(Rc::clone(key)));
        }
        if !token.is_public() {
            return Ok(None);
        }
        let needs = || Err(Check::NeedsKeys(url.clone()));
        let asked_lately =
            self.key_sets_asked.find(url, now).is_some_and(|(_, age)| age < KEY_SET_ASKED_AGAIN);
        let Some((keys, age)) = self.key_sets.find(url, now).filter(|(_, age)| *age < KEY_SET_STALE) else {
            return if asked_lately { Err(Check::Unavailable) } else { needs() };
        };
        if age >= KEY_SET_KEPT && !asked_lately {
            return needs();
        }
        match token.key(keys) {
            None if !asked_lately => needs(),
            found => Ok(found.cloned()),
        }
    }

    /// Stores the result of looking up a project.
    pub fn learn_project(&mut self, name: &str, learnt: Learnt<Rc<Project>>, now: Millis) {
        match learnt {
            Learnt::Found(project) => {
                self.projects_absent.forget(name);
                self.projects.keep(name, project, now);
            }
            Learnt::Nothing => {
                self.projects.forget(name);
                self.projects_absent.keep(name, (), now);
            }
            Learnt::Failed => self.projects_failed.keep(name, (), now),
        }
    }

    /// Stores the result of fetching a JWKS endpoint.
    pub fn learn_keys(&mut self, url: &str, learnt: Learnt<Vec<Rc<Key>>>, now: Millis) {
        self.key_sets_asked.keep(url, (), now);
        match learnt {
            Learnt::Found(keys) => self.key_sets.keep(url, keys, now),
            Learnt::Nothing | Learnt::Failed => {}
        }
    }

    /// Stores the result of verifying a token's signature: its grant, or `None` if the signature is wrong.
    pub fn learn_token(&mut self, token: &str, grant: Option<Grant>, now: Millis) {
        match grant {
            Some(grant) => self.verified.keep(&digest(token), grant, now),
            None => self.rejected.keep(&digest(token), (), now),
        }
    }
}

/// The rate limit's key of a token. For a signed token it covers the signed part only, because one signature
/// has several encodings.
pub fn counted_as(token: &str) -> String {
    digest(token.rsplit_once('.').map_or(token, |(signed, _)| signed))
}

/// The cache's key of a token. Looking up a hash leaks nothing about other tokens through timing.
pub fn digest(token: &str) -> String {
    STANDARD.encode(Sha256::digest(token))
}
