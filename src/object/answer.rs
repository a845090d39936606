//! How a request to an object ends.

use super::fetch::PendingRead;
use super::links::Asking;
use super::live::Park;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// How a request ends when it does not end well: the protocol says no, or we could not.
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

/// What a request gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Reply(Reply),
    /// A socket, over which the response will come or go on.
    Park(Park),
    /// Bytes from elsewhere are needed first: [`Object::resume`] answers with them.
    Fetch(PendingRead),
    /// Another stream is to be asked first: [`Object::confirm`] answers with what it says.
    Ask(Asking),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}
