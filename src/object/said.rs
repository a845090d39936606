//! The answer to a call, and everything that accompanies it.

use super::subscription::After;
use crate::protocol::Millis;
use crate::protocol::call::Answered;

/// How long a request to a subscription waits for streams and the registry. After that, the answer uses the known
/// state.
pub const SETTLES_MAX: Millis = 10_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub answered: Answered,
    /// The bytes that follow the answer.
    pub bytes: Vec<u8>,
    /// If set, the answer is incomplete. `Object::go_on_after` completes it once `Object::is_settled`, or after
    /// [`SETTLES_MAX`].
    pub after: Option<After>,
}

impl From<Answered> for Said {
    fn from(answered: Answered) -> Said {
        Said { answered, bytes: Vec::new(), after: None }
    }
}
