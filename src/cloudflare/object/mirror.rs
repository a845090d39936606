//! The mirror of segments: D1. It is told in its own time, and rests when it fails, whatever the bucket does meanwhile.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::chores::Done;
use super::stream_object::ObjectHost;
use crate::cloudflare::config::binding;
use crate::cloudflare::{clock, telemetry};
use crate::object::Ports;
use crate::object::mirror::{Delivery, REST_MIN};
use crate::protocol::Millis;

const BINDING: &str = "ADMIN_DB";

/// How long the database may take. To carry out a batch twice changes nothing.
const BATCH_MAX: Millis = 30_000;

#[wasm_bindgen]
extern "C" {
    /// A D1 database; the worker crate's own, which knows more, would make the module 2 kB larger.
    type Database;

    #[wasm_bindgen(method, catch)]
    fn prepare(this: &Database, statement: &str) -> Result<Prepared, JsValue>;

    /// Carries out all statements, or none.
    #[wasm_bindgen(method, catch)]
    fn batch(this: &Database, statements: &Array) -> Result<Promise, JsValue>;

    type Prepared;

    #[wasm_bindgen(method, catch)]
    fn bind(this: &Prepared, path: &str, notices: &str) -> Result<Prepared, JsValue>;
}

/// The mirror of one object.
pub(super) struct Mirror {
    /// Where no deployment bound one, nobody is told anything.
    database: Option<Database>,
}

impl Mirror {
    pub(super) fn of(env: &Env) -> Mirror {
        let database = binding(env, BINDING).map(JsCast::unchecked_into);
        Mirror { database }
    }

    pub(super) fn is_there(&self) -> bool {
        self.database.is_some()
    }

    async fn tell(&self, delivery: &Delivery) -> Result<(), JsValue> {
        let Some(database) = &self.database else { return Err("there is no database".into()) };
        let statements = Array::new();
        for statement in &delivery.statements {
            let prepared = database.prepare(statement.text)?.bind(&delivery.path, &statement.notices)?;
            statements.push(&prepared);
        }
        let batch = JsFuture::from(database.batch(&statements)?);
        let late = || JsValue::from(format!("no answer within {BATCH_MAX} ms"));
        let results = clock::within(BATCH_MAX, batch).await.ok_or_else(late)??;
        telemetry::count(|counts| counts.mirror_rows_written += rows_written(&results));
        Ok(())
    }
}

impl ObjectHost {
    /// Tells the mirror what it does not know yet.
    pub(super) async fn mirror(&self) -> Done {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let soon = |failure| (failure, clock::now() + REST_MIN);
        loop {
            let next = self.object.borrow_mut().next_delivery(&ports, clock::now());
            let before = self.sql.take_row_counts();
            let Some(delivery) = next.map_err(soon)? else { return Ok(()) };
            let told = self.mirror.tell(&delivery).await;
            told.map_err(|error| delivery.failed(&format!("{error:?}"), clock::now()))?;
            self.object.borrow_mut().delivered(&ports, &delivery).map_err(soon)?;
            if self.config.debug {
                let after = self.sql.take_row_counts();
                telemetry::worked(&self.name(), "mirrored", None, before + after);
            }
        }
    }
}

/// What D1 says of each statement.
fn rows_written(results: &JsValue) -> u64 {
    let of = |result: JsValue| {
        let meta = js_sys::Reflect::get(&result, &"meta".into()).ok()?;
        js_sys::Reflect::get(&meta, &"rows_written".into()).ok()?.as_f64()
    };
    Array::from(results).iter().filter_map(of).sum::<f64>() as u64
}
