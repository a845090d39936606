//! The answer to a call, with the bytes that follow it.

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
