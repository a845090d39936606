//! The lookups that a token needs: projects in KV, keys of JWKS endpoints, and signatures, which the platform verifies.
//! Concurrent requests share one lookup.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::{Context, Env};

use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::{config, telemetry};
use crate::edge::kept::Kept;
use crate::edge::keyring::{Check, Keyring, Learnt, digest};
use crate::edge::project::{Key, Project, parse_public};
use crate::edge::token::Signed;
use crate::protocol::Millis;
use crate::storage::Failure;

/// The most lookups in progress that other requests can wait for.
const LOOKUPS_MAX: usize = 256;

/// How long, in milliseconds, a request waits for another's lookup. This is longer than `KEY_SET_TIMEOUT`.
const LOOKUP_WAIT_MAX: Millis = 6_000;

/// The longest key set that is accepted, in bytes: about 30 keys with certificates.
const KEY_SET_MAX_BYTES: u32 = 64 << 10;

/// How long, in milliseconds, a JWKS endpoint may take.
const KEY_SET_TIMEOUT: Millis = 5_000;

/// The prefix of a project's key in KV.
const KEY_PREFIX: &str = "project:";

#[wasm_bindgen]
extern "C" {
    type Namespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &Namespace, key: &str) -> Result<Promise, JsValue>;
}

#[wasm_bindgen(module = "/src/cloudflare/js/keys.js")]
extern "C" {
    #[wasm_bindgen(js_name = fetchText)]
    fn fetch_text(url: &str, max_bytes: u32, millis: f64) -> Promise;

    fn verifies(algorithm: &str, jwk: &str, message: &str, signature: Uint8Array) -> Promise;
}

/// What an isolate knows about projects and keys, and its lookups in progress.
pub(super) struct Lookups {
    env: Env,
    pub(super) keyring: RefCell<Keyring>,
    under_way: RefCell<Kept<Promise>>,
}

impl Lookups {
    pub(super) fn new(env: Env, keyring: Keyring) -> Rc<Lookups> {
        let under_way = RefCell::new(Kept::new(LOOKUPS_MAX));
        Rc::new(Lookups { env, keyring: RefCell::new(keyring), under_way })
    }

    /// Makes a lookup or waits for the same one in progress. Afterwards the keyring has its result or its failure.
    pub(super) async fn learn(self: &Rc<Self>, check: Check, token: &str, context: &Context, request: &str) {
        let name = match &check {
            Check::NeedsProject(name) => format!("project {name}"),
            Check::NeedsKeys(url) => format!("keys {url}"),
            Check::NeedsSignature(_) => format!("token {}", digest(token)),
            Check::Unavailable | Check::Granted(_) | Check::Invalid => return,
        };
        let lookup = self.in_progress(&name);
        if let Some(lookup) = lookup {
            let late = Timer::new(LOOKUP_WAIT_MAX);
            let Either::Left((Ok(_), _)) = select(JsFuture::from(lookup), late.over()).await else {
                // The platform has cancelled the request that began the lookup.
                self.under_way.borrow_mut().forget(&name);
                return self.look_up(check, token, request).await;
            };
            return;
        }
        let (lookups, token, of) = (Rc::clone(self), token.to_owned(), name.clone());
        let request = request.to_owned();
        let lookup = future_to_promise(async move {
            lookups.look_up(check, &token, &request).await;
            lookups.under_way.borrow_mut().forget(&of);
            Ok(JsValue::UNDEFINED)
        });
        self.under_way.borrow_mut().keep(&name, lookup.clone(), clock::now());
        // The lookup continues if this client disconnects, because other requests may wait for it.
        let learnt = JsFuture::from(lookup.clone());
        context.wait_until(async move {
            let _learnt = learnt.await;
        });
        let _learnt = JsFuture::from(lookup).await;
    }

    /// The lookup in progress, unless it is so old that its request must have been cancelled.
    fn in_progress(&self, name: &str) -> Option<Promise> {
        let under_way = self.under_way.borrow();
        under_way
            .find(name, clock::now())
            .filter(|(_, age)| *age < LOOKUP_WAIT_MAX)
            .map(|(lookup, _)| lookup.clone())
    }

    async fn look_up(&self, check: Check, token: &str, request: &str) {
        match check {
            Check::NeedsProject(name) => {
                let learnt = project(&self.env, &name, request).await;
                self.keyring.borrow_mut().learn_project(&name, learnt, clock::now());
            }
            Check::NeedsKeys(url) => {
                let learnt = keys(&url, request).await;
                self.keyring.borrow_mut().learn_keys(&url, learnt, clock::now());
            }
            Check::NeedsSignature(signed) => {
                let grant = is_valid(&signed).await.then_some(signed.grant);
                self.keyring.borrow_mut().learn_token(token, grant, clock::now());
            }
            Check::Unavailable | Check::Granted(_) | Check::Invalid => {}
        }
    }
}

/// Looks up a project. A project that cannot be parsed has no valid tokens, and the log says what is wrong with it.
async fn project(env: &Env, name: &str, request: &str) -> Learnt<Rc<Project>> {
    let operation = "look up project";
    let text = match project_text(env, name).await {
        Ok(Some(text)) => text,
        Ok(None) => return Learnt::Nothing,
        Err(error) => {
            telemetry::failure(name, Some(request), &Failure::new(operation, format_args!("{error:?}")));
            return Learnt::Failed;
        }
    };
    match Project::parse(&text) {
        Ok(project) => {
            telemetry::misconfigured(operation, &format!("project {name}"), project.cors.as_ref());
            Learnt::Found(Rc::new(project))
        }
        Err(why) => {
            telemetry::failure(name, Some(request), &Failure::new(operation, why));
            Learnt::Nothing
        }
    }
}

async fn project_text(env: &Env, name: &str) -> Result<Option<String>, JsValue> {
    let Some(namespace) = config::projects(env) else { return Ok(None) };
    telemetry::count(|counts| counts.kv_reads += 1);
    let namespace: Namespace = namespace.unchecked_into();
    Ok(JsFuture::from(namespace.get(&format!("{KEY_PREFIX}{name}"))?).await?.as_string())
}

/// Whether the KV namespace of projects answers. `None` if the deployment does not bind one.
pub(super) async fn answers(env: &Env) -> Option<Result<(), Failure>> {
    config::projects(env)?;
    // No project has an empty name.
    let found = project_text(env, "").await;
    Some(found.map(drop).map_err(|error| Failure::new("look up project", format_args!("{error:?}"))))
}

/// Fetches the keys of a JWKS endpoint.
async fn keys(url: &str, request: &str) -> Learnt<Vec<Rc<Key>>> {
    let failed = |cause: &str| {
        telemetry::failure(url, Some(request), &Failure::new("fetch keys", cause));
        Learnt::Failed
    };
    match JsFuture::from(fetch_text(url, KEY_SET_MAX_BYTES, KEY_SET_TIMEOUT as f64)).await {
        Ok(text) => match parse_public(&text.as_string().unwrap_or_default()) {
            Some(keys) => Learnt::Found(keys),
            None => failed("the response is not a JSON Web Key Set"),
        },
        Err(error) => failed(&format!("{error:?}")),
    }
}

async fn is_valid(signed: &Signed) -> bool {
    let signature = Uint8Array::from(&*signed.signature);
    let verified = verifies(signed.algorithm.name(), &signed.jwk, &signed.message, signature);
    JsFuture::from(verified).await.is_ok_and(|valid| valid == JsValue::TRUE)
}
