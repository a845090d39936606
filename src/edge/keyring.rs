//! What an isolate knows of projects and their keys. It decides by what it knows, or says what it has to learn first;
//! whoever learns that asks again. So there is one decision, whether or not something had to be fetched for it.

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

/// How many projects are remembered, of those in KV.
pub const PROJECTS_KEPT_MAX: usize = 1024;
/// How many key servers' keys are.
pub const KEY_SETS_KEPT_MAX: usize = 256;
/// How many tokens are, whose signature has been verified.
pub const TOKENS_KEPT_MAX: usize = 4096;

/// How long a project is used before it is looked up again: a key that is withdrawn is good for so long.
pub const PROJECT_KEPT: Millis = 60_000;
/// How long it is remembered that there is no such project.
pub const NO_PROJECT_KEPT: Millis = 10_000;
/// How long a project is used while KV fails.
pub const PROJECT_STALE: Millis = 600_000;
/// How long a key server's keys are used before it is asked again.
pub const KEY_SET_KEPT: Millis = 300_000;
/// How long they are used while it fails.
pub const KEY_SET_STALE: Millis = 3_600_000;
/// How soon a key server is asked again, for a key that it did not have or because it failed.
pub const KEY_SET_ASKED_AGAIN: Millis = 30_000;
/// How long a token is good without its signature being looked at again.
pub const TOKEN_KEPT: Millis = 60_000;
/// How long one is not whose signature was wrong: its key may have come meanwhile.
pub const TOKEN_REJECTED_KEPT: Millis = 10_000;

/// What is known of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Check {
    /// It is valid, and allows this.
    Granted(Grant),
    Invalid,
    /// The project has to be looked up.
    NeedsProject(String),
    /// The keys at this URL have to be fetched.
    NeedsKeys(String),
    /// Its signature has to be verified.
    NeedsSignature(Box<Signed>),
    /// What was needed could not be learnt lately.
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
    /// Apart from those that are there: whoever makes names up must not drive these out.
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

    /// Holds a token against what is known.
    pub fn check(&self, fixed: &HashMap<String, Rc<Project>>, token: &str, now: Millis) -> Check {
        let Some(parsed) = Token::parse(token) else { return Check::Invalid };
        // What is there belongs to no project, whoever signs for one of that name.
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

    /// A token whose signature was looked at a moment ago.
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

    /// Which sites' scripts may use a project, if it is known and says so.
    pub fn cors<'k>(&'k self, fixed: &'k HashMap<String, Rc<Project>>, project: &str) -> Option<&'k Cors> {
        let kept = || self.projects.find(project, 0).map(|(project, _)| project);
        fixed.get(project).or_else(kept)?.cors.as_ref()
    }

    /// A project, if it is there; an error says why that is not known.
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

    /// The key that a token names: of the project's own, or of its key server's.
    fn key(&self, project: &Project, token: &Token<'_>, now: Millis) -> Result<Option<Rc<Key>>, Check> {
        let Some(url) = &project.jwks_url else { return Ok(token.key(&project.keys).cloned()) };
        // Where there is a key server, there may always be a second key.
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

    /// A project was looked up.
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

    /// A key server was asked.
    pub fn learn_keys(&mut self, url: &str, learnt: Learnt<Vec<Rc<Key>>>, now: Millis) {
        self.key_sets_asked.keep(url, (), now);
        match learnt {
            Learnt::Found(keys) => self.key_sets.keep(url, keys, now),
            Learnt::Nothing | Learnt::Failed => {}
        }
    }

    /// A token's signature was looked at: what it allows, if it is right.
    pub fn learn_token(&mut self, token: &str, grant: Option<Grant>, now: Millis) {
        match grant {
            Some(grant) => self.verified.keep(&digest(token), grant, now),
            None => self.rejected.keep(&digest(token), (), now),
        }
    }
}

/// Stands for a token where its requests are counted: of a signed token what was signed, since one signature can be written
/// in several ways.
pub fn counted_as(token: &str) -> String {
    digest(token.rsplit_once('.').map_or(token, |(signed, _)| signed))
}

/// Stands for a token, where it is remembered. What is looked up by it takes no time that tells of others.
pub fn digest(token: &str) -> String {
    STANDARD.encode(Sha256::digest(token))
}
