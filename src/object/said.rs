//! The answer to a call, with what else belongs to it.

use super::subscription::After;
use crate::protocol::Millis;
use crate::protocol::call::Answered;

/// How long a request to a subscription waits for its streams and the registry. After that it is answered with what is known.
pub const SETTLES_MAX: Millis = 10_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub answered: Answered,
    /// The bytes that follow the answer.
    pub bytes: Vec<u8>,
    /// The answer is not complete: `Object::go_on_after` completes it once `Object::is_settled`, or after [`SETTLES_MAX`].
    pub after: Option<After>,
}

impl From<Answered> for Said {
    fn from(answered: Answered) -> Said {
        Said { answered, bytes: Vec::new(), after: None }
    }
}
