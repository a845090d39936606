//! Writes data points to Analytics Engine, if the deployment binds it. A write costs the client no time: the platform sends
//! points in the background.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;
use worker::Env;

use crate::cloudflare::config::{METRICS, binding};
use crate::telemetry::points::Point;

#[wasm_bindgen]
extern "C" {
    type Dataset;

    #[wasm_bindgen(method, catch, js_name = writeDataPoint)]
    fn write_data_point(this: &Dataset, point: &Object) -> Result<JsValue, JsValue>;
}

/// The dataset that is bound as `METRICS`.
pub(in crate::cloudflare) struct Analytics(Dataset);

impl Analytics {
    pub(in crate::cloudflare) fn of(env: &Env) -> Option<Analytics> {
        Some(Analytics(binding(env, METRICS)?.unchecked_into()))
    }

    /// Writes a point. A failure is ignored: it concerns no client, and a log line for each request would cost more.
    pub(in crate::cloudflare) fn write(&self, point: &Point) {
        let Point { index, blobs, doubles } = point;
        let object = Object::new();
        let texts: Array = blobs.iter().map(|blob| JsValue::from_str(blob)).collect();
        let numbers: Array = doubles.iter().map(|number| JsValue::from_f64(*number)).collect();
        let indexes = Array::of1(&index.as_str().into());
        for (name, value) in [("blobs", texts), ("doubles", numbers), ("indexes", indexes)] {
            let _set = Reflect::set(&object, &name.into(), &value);
        }
        let _ignored = self.0.write_data_point(&object);
    }
}
