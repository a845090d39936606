//! What a token allows: which methods, on which streams of which project, until when.

use http::Method;

use crate::protocol::Millis;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;

/// One thing that a token may allow. None of them contains another.
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
    /// What a method needs. What is no method of a stream was refused before.
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

/// Which streams of its project a token is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Streams {
    All,
    /// Those whose path begins like this, which ends with a slash.
    Under(String),
    Only(String),
}

impl Streams {
    /// Reads a claim: a stream's whole path as it is decoded, or the same with `*` as its last segment.
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
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The project it is for; `None` is all of them.
    pub project: Option<String>,
    /// What it allows there.
    pub scopes: Vec<Scope>,
    pub streams: Streams,
    pub expires_at: Option<Millis>,
}

impl Grant {
    pub fn of_everything() -> Grant {
        let scopes = vec![Scope::Read, Scope::Write, Scope::Manage];
        Grant { project: None, scopes, streams: Streams::All, expires_at: None }
    }

    /// Holds a request against it. The path is the one that will be served.
    pub fn allow(&self, method: &Method, path: &StreamPath) -> Result<(), Refusal> {
        let needed = Scope::needed_for(method);
        let is_its_project = self.project.as_deref().is_none_or(|project| project == path.project());
        if is_its_project && self.scopes.contains(&needed) && self.streams.include(path.as_str()) {
            Ok(())
        } else {
            Err(Refusal::Forbidden { needs: needed.name() })
        }
    }

    /// How the paths begin that it may list, of those that are asked for: listing is for whoever creates and deletes.
    pub fn listable(&self, asked: &str) -> Result<String, Refusal> {
        let refused = || Refusal::Forbidden { needs: Scope::Manage.name() };
        let own = self.project.as_ref().map(|project| format!("{project}/")).unwrap_or_default();
        let claimed = match &self.streams {
            Streams::All => "",
            Streams::Under(prefix) => prefix,
            // Others would begin with its path, too.
            Streams::Only(_) => return Err(refused()),
        };
        let narrowest = narrower(&own, claimed).and_then(|both| narrower(both, asked));
        let narrowest = narrowest.filter(|_| self.scopes.contains(&Scope::Manage));
        narrowest.map(str::to_owned).ok_or_else(refused)
    }
}

/// The longer of two beginnings, if it begins with the other: what begins like both.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.starts_with(short).then_some(long)
}

/// The scopes that a token names (RFC 8693, 4.2), as `has` says. What is not known allows nothing.
pub fn scopes(has: impl Fn(&str) -> bool) -> Vec<Scope> {
    let known = [Scope::Read, Scope::Write, Scope::Manage];
    known.into_iter().filter(|scope| has(scope.name())).collect()
}
