//! What an object answers to a call, and the bytes that come along.

use crate::protocol::call::Answered;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub answered: Answered,
    pub bytes: Vec<u8>,
}

impl From<Answered> for Said {
    fn from(answered: Answered) -> Said {
        Said { answered, bytes: Vec::new() }
    }
}
