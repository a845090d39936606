//! Dispatches requests to the methods that serve them, and admits requests without a token.

use super::answer::{Answer, Error};
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::command::Command;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;

impl Object {
    /// Serves one request for the stream at `path`.
    pub fn serve<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        command: &Command<'_>,
        now: Millis,
    ) -> Result<Answer, Error> {
        match command {
            Command::Create(create) => self.create(ports, path, create, now),
            Command::Append(append) => self.append(ports, append, now),
            Command::Close(close) => self.close(ports, close, now),
            Command::Delete => self.delete(ports, now),
            Command::Head => self.metadata(ports, now),
            Command::Read(read) => self.read(ports, path, read, now),
        }
    }

    /// Limits the next reads, by how much memory unread responses occupy.
    pub fn give_at_most(&mut self, chunk_bytes: usize) {
        self.settings.chunk_max_bytes = chunk_bytes;
    }

    /// Admits a request without a token if it reads a public stream. A private stream and a missing one are
    /// refused alike, and the request does not renew a TTL.
    pub fn admit_stranger<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        command: &Command<'_>,
        now: Millis,
    ) -> Result<(), Error> {
        let reads = matches!(command, Command::Read(_) | Command::Head);
        match self.stream(ports, now) {
            Ok(stream) if stream.public && reads => Ok(()),
            Ok(_) | Err(Error::Refused(_)) => Err(Refusal::Unauthorized { given: false }.into()),
            Err(failed) => Err(failed),
        }
    }

    fn metadata<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Answer, Error> {
        let guarded = self.settings.guarded;
        let stream = self.stream(ports, now)?;
        let (closed, public) = (stream.closure.is_closed(), stream.public);
        let reply = Reply::metadata(&stream.content_type, stream.tail, closed, public, stream.lifetime);
        let reply = reply.with_retention(stream.retention);
        Ok(reply.with_reader_key(stream.reader_key(guarded, now)).into())
    }
}
