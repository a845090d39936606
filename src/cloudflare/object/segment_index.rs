//! The segment index: D1. Carries out what `src/object/segment_index.rs` has gathered for it.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::config::{ADMIN_DB, binding};
use crate::cloudflare::{clock, telemetry};
use crate::object::segment_index::Delivery;
use crate::protocol::Millis;
use crate::storage::Failure;

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

/// The database of the segment index, as one object writes to it.
pub(super) struct IndexDatabase {
    /// `None` where no deployment bound one.
    database: Option<Database>,
}

impl IndexDatabase {
    pub(super) fn of(env: &Env) -> IndexDatabase {
        let database = binding(env, ADMIN_DB).map(JsCast::unchecked_into);
        IndexDatabase { database }
    }

    pub(super) fn is_there(&self) -> bool {
        self.database.is_some()
    }

    pub(super) async fn deliver(&self, delivery: &Delivery) -> Result<(), Failure> {
        let failed = |error| Failure::new("mirror segments", format_args!("{error:?}"));
        self.carry_out(delivery).await.map_err(failed)
    }

    async fn carry_out(&self, delivery: &Delivery) -> Result<(), JsValue> {
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

/// What D1 says of each statement.
fn rows_written(results: &JsValue) -> u64 {
    let of = |result: JsValue| {
        let meta = js_sys::Reflect::get(&result, &"meta".into()).ok()?;
        js_sys::Reflect::get(&meta, &"rows_written".into()).ok()?.as_f64()
    };
    Array::from(results).iter().filter_map(of).sum::<f64>() as u64
}
