//! The alarm: reclaims what has expired.

use super::live::{self, Sockets};
use super::{Object, Ports, Stop, is_read_live};
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::storage::commit::{Change, commit};
use crate::stream::Life;
use crate::stream::delete::delete;

impl Object {
    /// Ends the stream if its time has come. Gives the instant at which to ring again, if it has one.
    pub fn ring<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Option<Millis>, Failure> {
        match self.stream(ports, now) {
            Ok(stream) => {
                if is_read_live(stream, ports.sockets) {
                    super::touch(ports.sql, stream, now)?;
                }
                Ok(stream.expires_at())
            }
            Err(Stop::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
            Err(Stop::Refused(_)) => self.reclaim(ports),
        }
    }

    fn reclaim<S: Sockets>(&mut self, ports: &Ports<'_, S>) -> Result<Option<Millis>, Failure> {
        let Life::Live(stream) = self.load(ports.sql)? else { return Ok(None) };
        let (ended, incarnation) = (delete(stream), stream.incarnation);
        commit(ports.sql, &Change::End { stream, ended })?;
        self.life = Some(Life::Ended(ended));
        self.announced = None;
        live::dismiss(ports.sockets, incarnation);
        Ok(None)
    }
}
