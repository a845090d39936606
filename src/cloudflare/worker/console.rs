//! Serves the console's files from the static assets. The Worker comes first, so that `CONSOLE` decides at run time and the
//! responses have the headers of `src/protocol/console.rs`.

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;
use worker::Env;

use crate::cloudflare::config::ASSETS;
use crate::cloudflare::reply;
use crate::protocol::console::ConsoleFile;

#[wasm_bindgen]
extern "C" {
    /// The binding of the static assets.
    type Assets;

    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Assets, url: &str) -> Result<Promise, JsValue>;
}

/// Assets have no host of their own, but a URL needs one.
const ORIGIN: &str = "https://console";

/// The response with a file. `None` if there is no such file.
pub(super) async fn answer(env: &Env, file: &ConsoleFile) -> Result<Option<Response>, JsValue> {
    let assets: Assets = Reflect::get(env, &ASSETS.into())?.unchecked_into();
    let url = format!("{ORIGIN}{}", file.asset_path());
    let found: Response = JsFuture::from(assets.fetch(&url)?).await?.unchecked_into();
    if found.ok() { reply::over(&file.reply(), found.body()).map(Some) } else { Ok(None) }
}
