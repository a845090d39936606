//! What there is to do in the bucket: one thing after the other, and never for anybody who waits.

use std::rc::Rc;

use super::stream_object::ObjectHost;
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::telemetry;
use crate::object::Ports;
use crate::object::alarm::RETRY;
use crate::object::rotation::Work;
use crate::storage::Failure;
use crate::telemetry::counts::RowCounts;

impl ObjectHost {
    /// Does what there is to do in the bucket, in a later turn: the writer's answer does not wait for it.
    pub(super) fn work_soon(self: &Rc<Self>) {
        if clock::now() < self.rests_until.get() || self.working.replace(true) {
            return;
        }
        let inner = Rc::clone(self);
        self.state.wait_until(async move {
            let _next_turn = Timer::new(0).over().await;
            inner.work().await;
        });
    }

    /// Rotates what is due and deletes what nobody can read any more, one thing after the other.
    pub(super) async fn work(self: &Rc<Self>) {
        let _busy = telemetry::busy(|| self.name(), |_| {});
        let worked = self.work_until_done().await;
        self.working.set(false);
        self.rests_until.set(0);
        if let Err(failure) = worked {
            telemetry::failure(&self.name(), &failure);
            // Not with each request that comes until then: every try writes a segment, and the alarm a row.
            self.rests_until.set(clock::now() + RETRY);
        }
        self.rearm_or_log();
    }

    async fn work_until_done(self: &Rc<Self>) -> Result<(), Failure> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut rows_read = 0;
        loop {
            let work = self.object.borrow_mut().next_work(&ports)?;
            rows_read += self.sql.take_row_counts().read;
            let (event, segment) = match work {
                None => return Ok(()),
                Some(Work::Encode) => {
                    let _next_turn = Timer::new(0).over().await;
                    continue;
                }
                Some(Work::Upload(mut upload)) => {
                    bucket.put(&upload.key, std::mem::take(&mut upload.pieces)).await?;
                    self.object.borrow_mut().uploaded(&ports, &upload, clock::now())?;
                    ("rotated", Some(upload.segment()))
                }
                Some(Work::Collect(mut collection)) => {
                    bucket.delete(std::mem::take(&mut collection.keys)).await?;
                    self.object.borrow_mut().collected(&ports, &collection, clock::now())?;
                    ("collected", Some(collection.through_segment))
                }
            };
            if self.config.debug {
                let rows = RowCounts { read: rows_read, written: 0 } + self.sql.take_row_counts();
                telemetry::worked(&self.name(), event, segment, rows);
            }
            rows_read = 0;
            self.chores_soon();
        }
    }
}
