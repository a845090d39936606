//! Grants: the methods, streams, project and time that a token allows.

use http::Method;

use crate::protocol::Millis;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::subscription::glob::Pattern;

/// A permission of a token. No scope includes another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Allows GET and HEAD.
    Read,
    /// Allows POST, with and without a body.
    Write,
    /// Allows PUT and DELETE.
    Manage,
}

impl Scope {
    /// The scope that a method needs. Routing has already refused all other methods.
    pub fn needed_for(method: &Method) -> Scope {
        match *method {
            Method::GET | Method::HEAD => Scope::Read,
            Method::POST => Scope::Write,
            _ => Scope::Manage,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Manage => "manage",
        }
    }
}

/// The streams of its project that a token covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Streams {
    All,
    /// Streams whose path begins with this prefix, which ends with a slash.
    Under(String),
    Only(String),
}

impl Streams {
    /// Parses the `stream` claim: a stream's whole decoded path, or a path whose last segment is `*`.
    pub fn parse(claim: &str) -> Streams {
        match claim.strip_suffix('*') {
            Some("") => Streams::All,
            Some(prefix) if prefix.ends_with('/') => Streams::Under(prefix.to_owned()),
            _ => Streams::Only(claim.to_owned()),
        }
    }

    fn include(&self, path: &str) -> bool {
        match self {
            Streams::All => true,
            Streams::Under(prefix) => path.starts_with(prefix),
            Streams::Only(only) => path == only,
        }
    }

    /// Whether they include all streams that a pattern can match.
    fn include_all(&self, pattern: &Pattern) -> bool {
        match self {
            Streams::All => true,
            Streams::Under(prefix) => pattern.literal_prefix().starts_with(prefix.as_str()),
            Streams::Only(only) => pattern.is_literal() && pattern.literal_prefix() == *only,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The project that it covers; `None` covers all projects.
    pub project: Option<String>,
    pub scopes: Vec<Scope>,
    pub streams: Streams,
    pub expires_at: Option<Millis>,
}

impl Grant {
    pub fn of_everything() -> Grant {
        let scopes = vec![Scope::Read, Scope::Write, Scope::Manage];
        Grant { project: None, scopes, streams: Streams::All, expires_at: None }
    }

    /// Refuses a request that the grant does not cover. `path` is the path that will be served.
    pub fn allow(&self, method: &Method, path: &StreamPath) -> Result<(), Refusal> {
        let needed = Scope::needed_for(method);
        if self.scopes.contains(&needed) && self.covers_path(path.as_str()) {
            Ok(())
        } else {
            Err(Refusal::Forbidden { needs: needed.name() })
        }
    }

    /// Whether it covers a stream of its project.
    pub fn covers_path(&self, path: &str) -> bool {
        let is_its_project = |project: &String| path.split('/').next() == Some(project);
        self.project.as_ref().is_none_or(is_its_project) && self.streams.include(path)
    }

    /// Refuses a request to the subscriptions of a root that the grant does not cover. Only a root that is a project is in
    /// one.
    pub fn allow_root(&self, root: Option<&str>, needed: Scope) -> Result<(), Refusal> {
        let is_its_project = self.project.is_none() || self.project.as_deref() == root;
        if is_its_project && self.scopes.contains(&needed) {
            Ok(())
        } else {
            Err(Refusal::Forbidden { needs: needed.name() })
        }
    }

    /// Whether it leaves out streams of its project.
    pub fn is_narrowed(&self) -> bool {
        self.streams != Streams::All
    }

    /// Whether it covers all streams that a pattern can match, and these. A pattern is over whole paths.
    pub fn covers(&self, pattern: Option<&str>, mut paths: impl Iterator<Item = String>) -> bool {
        let covers =
            |pattern| Pattern::parse(pattern).is_ok_and(|pattern| self.streams.include_all(&pattern));
        pattern.is_none_or(covers) && paths.all(|path| self.streams.include(&path))
    }

    /// The prefix to list: the longest of the project's, the claim's and the requested prefix, if it begins
    /// with the others. Listing needs the `manage` scope.
    pub fn listable(&self, asked: &str) -> Result<String, Refusal> {
        let refused = || Refusal::Forbidden { needs: Scope::Manage.name() };
        let own = self.project.as_ref().map(|project| format!("{project}/")).unwrap_or_default();
        let claimed = match &self.streams {
            Streams::All => "",
            Streams::Under(prefix) => prefix,
            // A prefix listing would also show other streams whose paths begin with this one.
            Streams::Only(_) => return Err(refused()),
        };
        let narrowest = narrower(&own, claimed).and_then(|both| narrower(both, asked));
        let narrowest = narrowest.filter(|_| self.scopes.contains(&Scope::Manage));
        narrowest.map(str::to_owned).ok_or_else(refused)
    }
}

/// The longer of two prefixes, if it begins with the shorter one.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.starts_with(short).then_some(long)
}

/// The known scopes of a token (RFC 8693, 4.2). Unknown scopes allow nothing.
pub fn scopes(has: impl Fn(&str) -> bool) -> Vec<Scope> {
    let known = [Scope::Read, Scope::Write, Scope::Manage];
    known.into_iter().filter(|scope| has(scope.name())).collect()
}
