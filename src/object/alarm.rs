//! The alarm: reclaims what has expired.

use super::live::{self, Sockets};
use super::{Object, Ports, Stop, is_read_live};
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::storage::commit::{Change, commit};
use crate::stream::Life;
use crate::stream::delete::delete;

/// What an alarm did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// The stream had expired and is gone.
    Reclaimed,
    /// The stream lives: ring again then.
    Again(Millis),
    /// There is nothing to wait for.
    Nothing,
}

impl Object {
    /// Ends the stream if its time has come.
    pub fn ring<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Rung, Failure> {
        match self.stream(ports, now) {
            Ok(stream) => {
                if is_read_live(stream, ports.sockets) {
                    super::touch(ports.sql, stream, now)?;
                }
                Ok(stream.expires_at().map_or(Rung::Nothing, Rung::Again))
            }
            Err(Stop::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
            Err(Stop::Refused(_)) => self.reclaim(ports),
        }
    }

    fn reclaim<S: Sockets>(&mut self, ports: &Ports<'_, S>) -> Result<Rung, Failure> {
        let Life::Live(stream) = self.load(ports.sql)? else { return Ok(Rung::Nothing) };
        let (ended, incarnation) = (delete(stream), stream.incarnation);
        commit(ports.sql, &Change::End { stream, ended })?;
        self.life = Some(Life::Ended(ended));
        self.announced = None;
        live::dismiss(ports.sockets, incarnation);
        Ok(Rung::Reclaimed)
    }
}
