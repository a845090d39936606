//! Admission: one decision per request. It depends on the head, the configuration, the known projects and keys,
//! and the time. If the decision needs more knowledge, the caller fetches it and calls again.

use http::Method;

use super::access::Access;
use super::admin::Admin;
use super::auth::{Credential, Weighed, weigh};
use super::collapse::Reader;
use super::description::DESCRIPTION;
use super::forward::{Forward, ReadKind};
use super::grant::{Grant, Scope};
use super::host;
use super::inspecting::Inspecting;
use super::keyring::{Check, Keyring};
use super::listing::Listing;
use super::metrics::MetricsRequest;
use super::route::{Route, route};
use super::subscriptions::{ControlRequest, Endpoint};
use super::target::Target;
use crate::protocol::Millis;
use crate::protocol::console::ConsoleFile;
use crate::protocol::fork::source_path;
use crate::protocol::names::header;
use crate::protocol::orphans::OrphansQuery;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry;
use crate::protocol::reply::Reply;
use crate::protocol::subscription::refusal::SubscriptionRefusal;

/// The access rules of a deployment.
pub struct Rules {
    pub access: Access,
    pub admin: Admin,
    /// Whether rate limits are on.
    pub is_limited: bool,
    /// Whether even public streams need a token.
    pub hides_public: bool,
    /// Whether registries, and therefore listings, are on.
    pub lists: bool,
    /// Whether there is a console.
    pub has_console: bool,
}

/// The head of a request.
pub struct Head<'r> {
    pub method: &'r Method,
    pub target: &'r Target<'r>,
    pub known: Known<'r>,
}

/// The part of the head that the caller has read.
pub enum Known<'r> {
    /// `Authorization`, and a valid `Host`. This is enough for most requests, and reading more headers costs
    /// time.
    Authorization(Option<&'r str>),
    All {
        header: &'r dyn Fn(&str) -> Option<String>,
        /// Whether a URL can be built from a `Host`.
        is_host: &'r dyn Fn(&str) -> bool,
        /// The address of the connection's other end.
        peer: &'r dyn Fn() -> Option<String>,
    },
}

/// The decision, and the rate limit to apply before it.
pub struct Admission {
    pub counts: CountsAgainst,
    pub decision: Decision,
}

/// The rate limit that a request counts against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CountsAgainst {
    None,
    /// The limit per address, because the request has no valid token.
    Address,
    /// The limit per token, because its token allows the request.
    Token(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Send it to its stream.
    Forward(Forward),
    /// Answer without calling an object.
    Reply(Reply),
    Listing(Listing),
    /// Answer with what a stream says about itself.
    Inspect(Box<Inspecting>),
    Orphans(OrphansQuery),
    /// Answer with checks of the bindings.
    Ready,
    Metrics(MetricsRequest),
    Console(ConsoleFile),
    /// Answer with what a subscription or its registry says.
    Subscriptions(Box<ControlRequest>),
    /// Carry out this check first, perhaps for this token, then decide again.
    Learn {
        check: Check,
        token: String,
    },
    /// Decide again with [`Known::All`].
    Look,
}

impl Rules {
    /// Decides a request. Without `may_learn`, missing knowledge counts as unavailable.
    pub fn admit(&self, keyring: &Keyring, head: &Head<'_>, may_learn: bool, now: Millis) -> Admission {
        let mut deciding =
            Deciding { rules: self, keyring, head, may_learn, now, counts: CountsAgainst::None };
        let decision = deciding.decide().unwrap_or_else(|undecided| match undecided {
            Undecided::Refused(refusal) => Decision::Reply(Reply::refused(&refusal)),
            Undecided::Learn { check, token } => Decision::Learn { check, token },
            Undecided::Look => Decision::Look,
        });
        Admission { counts: deciding.counts, decision }
    }

    /// The reader that an admitted client is.
    pub fn reader(&self) -> Reader {
        if self.access.is_open() { Reader::Anyone } else { Reader::Holder }
    }
}

/// The reason why a request is not admitted, or not decided yet.
enum Undecided {
    Refused(Refusal),
    Learn { check: Check, token: String },
    Look,
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Undecided {
        Undecided::Refused(refusal)
    }
}

struct Deciding<'d> {
    rules: &'d Rules,
    keyring: &'d Keyring,
    head: &'d Head<'d>,
    may_learn: bool,
    now: Millis,
    counts: CountsAgainst,
}

impl Deciding<'_> {
    fn decide(&mut self) -> Result<Decision, Undecided> {
        // A page can read a refusal only if its preflight succeeds, so a preflight is never refused.
        if *self.head.method == Method::OPTIONS {
            let preflight = Decision::Reply(Reply::preflight(self.header(header::REQUEST_HEADERS)?));
            return if self.serve().is_ok() { self.with_origins(preflight) } else { Ok(preflight) };
        }
        self.serve()?;
        let decided = match self.route() {
            Err(Undecided::Refused(refusal)) => Decision::Reply(Reply::refused(&refusal)),
            decided => decided?,
        };
        let goes_on = matches!(&decided, Decision::Forward(forward) if forward.is_as_it_came());
        if goes_on { Ok(decided) } else { self.with_origins(decided) }
    }

    /// Refuses a request that the server does not answer at all. Only an open server checks the request's
    /// origin machine.
    fn serve(&self) -> Result<(), Undecided> {
        if let Known::All { header, is_host, .. } = self.head.known {
            host::check(header(header::HOST).as_deref(), is_host)?;
        }
        let access = &self.rules.access;
        let (ray, peer) = match access {
            Access::Open { everywhere: false } => (self.header(header::RAY)?, self.peer()?),
            Access::Open { .. } | Access::Locked { .. } | Access::Token(_) | Access::Projects(_) => {
                (None, None)
            }
        };
        Ok(access.serve(self.head.target.url, ray.as_deref(), peer.as_deref())?)
    }

    fn route(&mut self) -> Result<Decision, Undecided> {
        match route(self.head.method, self.head.target) {
            Route::Preflight => Ok(Decision::Reply(Reply::preflight(self.header(header::REQUEST_HEADERS)?))),
            Route::Health => Ok(Decision::Reply(Reply::health(self.rules.access.mode()))),
            Route::Description => Ok(Decision::Reply(Reply::description(DESCRIPTION))),
            Route::Console(file) if self.rules.has_console => Ok(Decision::Console(file)),
            Route::Console(_) => Err(Refusal::UnknownRoute.into()),
            Route::Reply(answer) => Ok(Decision::Reply(answer)),
            Route::Listing => self.listing(),
            Route::Details(path) => {
                let inspecting = self.granted(|grant| Inspecting::of(grant, path))?;
                Ok(Decision::Inspect(Box::new(inspecting)))
            }
            Route::Subscriptions(endpoint) => self.subscriptions(endpoint),
            Route::Orphans => {
                // Count by address, because the token may be a guess.
                self.count(CountsAgainst::Address);
                let authorization = self.header(header::AUTHORIZATION)?;
                let Head { method, target, .. } = self.head;
                let query = self.rules.admin.orphans(method, target.url, authorization.as_deref())?;
                Ok(Decision::Orphans(query))
            }
            Route::Ready => Ok(Decision::Ready),
            Route::Metrics => {
                // Count by address, because the token may be a guess.
                self.count(CountsAgainst::Address);
                let authorization = self.header(header::AUTHORIZATION)?;
                let Rules { access, admin, lists, .. } = self.rules;
                admin.metrics(self.head.method, authorization.as_deref())?;
                Ok(Decision::Metrics(MetricsRequest::of(access, *lists, self.head.target.url)?))
            }
            Route::Forward(path) => self.forward(ReadKind::Plain, path),
            Route::LongPoll(path) => self.forward(ReadKind::LongPoll, path),
            Route::Sse(path) => self.forward(ReadKind::Sse, path),
        }
    }

    /// A listing, for tokens that may list.
    fn listing(&mut self) -> Result<Decision, Undecided> {
        let target = self.head.target;
        let listing = self.granted(|grant| Ok(Listing::of(&grant, target.url)))??;
        if !self.rules.lists {
            let what = "a registry, because REGISTRY_STREAM is off";
            return Err(Refusal::NotImplemented { what }.into());
        }
        Ok(Decision::Listing(listing))
    }

    /// The result of a check of the grant of a token in `Authorization`. The request counts against the token if it passes.
    fn granted<T>(&mut self, check: impl FnOnce(Grant) -> Result<T, Refusal>) -> Result<T, Undecided> {
        let authorization =
            if self.rules.access.is_open() { None } else { self.header(header::AUTHORIZATION)? };
        let credential = Credential::in_authorization(authorization.as_deref());
        let granted = self.weigh(&credential)?.and_then(check);
        self.count_by(granted.is_ok(), &credential);
        Ok(granted?)
    }

    /// A request about subscriptions, for tokens whose scope covers it. Bodies are compared with the token later.
    fn subscriptions(&mut self, endpoint: Endpoint) -> Result<Decision, Undecided> {
        let root = endpoint.root();
        let grant = match endpoint.scope() {
            Some(needed) => self.granted(|grant| grant.allow_root(root, needed).map(|()| grant))?,
            None => {
                // Count by address, because a wake token may be a guess.
                self.count(CountsAgainst::Address);
                self.know_root(root)?;
                Grant::of_everything()
            }
        };
        if matches!(endpoint, Endpoint::List { .. }) && !self.rules.lists {
            let what = "a registry, because REGISTRY_STREAM is off";
            return Err(Refusal::NotImplemented { what }.into());
        }
        // Where streams have no registry, objects sign with the keys of that of all streams.
        let has_registries = self.rules.lists && matches!(self.rules.access, Access::Projects(_));
        let registry = registry::path_of(root.filter(|_| has_registries));
        Ok(Decision::Subscriptions(Box::new(ControlRequest { endpoint, grant, registry })))
    }

    /// Refuses roots that are no projects: made-up names would otherwise load objects and make keys.
    fn know_root(&self, root: Option<&str>) -> Result<(), Undecided> {
        let Access::Projects(projects) = &self.rules.access else { return Ok(()) };
        let root = root.ok_or(Refusal::Forbidden { needs: Scope::Manage.name() })?;
        match self.keyring.project(projects, root, self.now) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Refusal::Subscription(SubscriptionRefusal::NotFound).into()),
            Err(check @ Check::NeedsProject(_)) if self.may_learn => {
                Err(Undecided::Learn { check, token: String::new() })
            }
            Err(_) => Err(Refusal::KeysUnavailable.into()),
        }
    }

    fn forward(&mut self, kind: ReadKind, path: StreamPath) -> Result<Decision, Undecided> {
        let method = self.head.method;
        let credential = self.credential()?;
        let granted = self.weigh(&credential)?;
        let granted = granted.and_then(|grant| grant.allow(method, &path).map(|()| grant));
        self.count_by(granted.is_ok(), &credential);
        let source = credential.source;
        let grant = match granted {
            Ok(grant) => grant,
            Err(refusal) if method.is_safe() && !self.rules.hides_public => {
                let (reader, stranger) = (Reader::Stranger, Some(refusal));
                let until = None;
                let stranger = Forward { kind, path, source, reader, until, stranger, hides_key: false };
                return Ok(Decision::Forward(stranger));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let mut hides_key = false;
        if *method == Method::PUT && grant.project.is_some() {
            if let Some(source) = self.header(header::STREAM_FORKED_FROM)? {
                // Creating a fork reads its source.
                grant.allow(&Method::GET, &source_path(&source)?)?;
            }
            hides_key = grant.allow(&Method::GET, &path).is_err();
        }
        let (reader, until) = (self.rules.reader(), grant.expires_at);
        Ok(Decision::Forward(Forward { kind, path, source, reader, until, stranger: None, hides_key }))
    }

    /// Finds a request's token. An open server ignores tokens, but a token in the URL still makes the answer
    /// uncacheable.
    fn credential(&self) -> Result<Credential, Undecided> {
        let Head { method, target, .. } = self.head;
        let is_open = self.rules.access.is_open();
        if is_open && !method.is_safe() {
            return Ok(Credential::none());
        }
        let authorization = if is_open { None } else { self.header(header::AUTHORIZATION)? };
        let in_query = target.token()?;
        // The cookie counts only for reads without another token.
        let may_be_cookie = !is_open && method.is_safe() && authorization.is_none() && in_query.is_none();
        let cookie = if may_be_cookie { self.header(header::COOKIE)? } else { None };
        Ok(Credential::of(method, in_query, authorization.as_deref(), cookie.as_deref())?)
    }

    /// The grant of a token, if the keyring knows it.
    fn weigh(&self, credential: &Credential) -> Result<Result<Grant, Refusal>, Undecided> {
        match weigh(&self.rules.access, self.keyring, credential, self.now) {
            Weighed::Granted(grant) => Ok(Ok(grant)),
            Weighed::Refused(refusal) => Ok(Err(refusal)),
            Weighed::Pending(Check::Unavailable) => Ok(Err(Refusal::KeysUnavailable)),
            Weighed::Pending(_) if !self.may_learn => Ok(Err(Refusal::KeysUnavailable)),
            Weighed::Pending(check) => {
                let token = credential.token.clone().unwrap_or_default();
                Err(Undecided::Learn { check, token })
            }
        }
    }

    /// Requests the project first if the answer needs its CORS configuration. Requests that pass unchanged do
    /// not need it.
    fn with_origins(&self, decided: Decision) -> Result<Decision, Undecided> {
        let Access::Projects(projects) = &self.rules.access else { return Ok(decided) };
        let Some(project) = self.head.target.project_named().filter(|_| self.may_learn) else {
            return Ok(decided);
        };
        if let Err(check @ Check::NeedsProject(_)) = self.keyring.project(projects, &project, self.now)
            && self.header(header::ORIGIN)?.is_some()
        {
            return Err(Undecided::Learn { check, token: String::new() });
        }
        Ok(decided)
    }

    /// Counts a request by its token if that allows the request, and otherwise by its address. An open server
    /// ignores tokens.
    fn count_by(&mut self, is_granted: bool, credential: &Credential) {
        let token = credential.token.as_ref().filter(|_| is_granted && !self.rules.access.is_open());
        self.count(token.map_or(CountsAgainst::Address, |token| CountsAgainst::Token(token.clone())));
    }

    fn count(&mut self, counts: CountsAgainst) {
        if self.rules.is_limited {
            self.counts = counts;
        }
    }

    fn header(&self, name: &str) -> Result<Option<String>, Undecided> {
        match self.head.known {
            Known::All { header, .. } => Ok(header(name)),
            Known::Authorization(given) if name == header::AUTHORIZATION => Ok(given.map(str::to_owned)),
            Known::Authorization(_) => Err(Undecided::Look),
        }
    }

    fn peer(&self) -> Result<Option<String>, Undecided> {
        match self.head.known {
            Known::All { peer, .. } => Ok(peer()),
            Known::Authorization(_) => Err(Undecided::Look),
        }
    }
}
