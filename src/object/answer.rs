//! The ways in which a request to an object ends.

use super::fetch::PendingRead;
use super::links::Asking;
use super::live::Park;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// A request that did not succeed: refused by the protocol, or failed in the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failed(failure)
    }
}

/// The result of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Reply(Reply),
    /// A socket that will carry the response, or the rest of it.
    Park(Park),
    /// The read needs bytes from elsewhere first. `Object::resume` continues with them.
    Fetch(PendingRead),
    /// Another stream must be called first. `Object::confirm` continues with its answer.
    Ask(Asking),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}
