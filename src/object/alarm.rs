//! The alarm: reclaims what has expired.

use super::live::Sockets;
use super::{Object, Ports, Stop, is_read_live, touch};
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::stream::Life;

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
        let was_live = matches!(self.load(ports.sql)?, Life::Live(_));
        match self.stream(ports, now) {
            Ok(stream) => {
                if is_read_live(stream, ports.sockets) {
                    touch(ports.sql, stream, now)?;
                }
                Ok(stream.expires_at().map_or(Rung::Nothing, Rung::Again))
            }
            Err(Stop::Refused(_)) if was_live => Ok(Rung::Reclaimed),
            Err(Stop::Refused(_)) => Ok(Rung::Nothing),
            Err(Stop::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
        }
    }
}
