//! Which requests the Worker passes on to a stream's object as they are. It examines all others first.

use http::Method;

use super::access::Access;
use super::auth::{Credential, Verdict, judge, may_have_token};
use super::keyring::Keyring;
use super::route::{Route, route};
use crate::protocol::Millis;

/// The path of the stream whose object answers a request alone: the URL says so, and the decisive header (`Authorization`) is a
/// token that is known to allow it.
pub fn passed_on_to(
    (access, keyring): (&Access, &Keyring),
    (method, url): (&Method, &str),
    decisive: Option<&str>,
    now: Millis,
) -> Option<String> {
    let is_simple = match access {
        // In development the Worker first checks that the request comes from this machine.
        Access::Open { everywhere } => *everywhere,
        Access::Token(_) | Access::Projects(_) => decisive.is_some(),
        Access::Locked { .. } => false,
    };
    if !is_simple || may_have_token(url) {
        return None;
    }
    if matches!(access, Access::Projects(_)) && *method == Method::PUT {
        // It may ask for a fork, of a stream that its token has to allow, too.
        return None;
    }
    let Route::Forward(path) = route(method, url) else { return None };
    if access.is_guarded() {
        let credential = Credential::of(method, url, decisive, None).ok()?;
        match judge(access, keyring, (method, &path), &credential, now) {
            Verdict::Admitted { .. } => {}
            Verdict::Refused(_) | Verdict::Pending(_) => return None,
        }
    }
    Some(path.into())
}
