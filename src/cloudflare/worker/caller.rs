//! Who sends a request, as far as that is known without a token, and what of it counts towards the limit of its address.

use std::cell::Cell;

use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::Request;
use worker::Env;

use super::rate_limit;
use crate::edge::auth::network_of_client;
use crate::edge::host;
use crate::protocol::names::header;
use crate::protocol::refusal::Refusal;

pub(super) struct Caller<'r> {
    env: &'r Env,
    request: &'r Request,
    is_limited: bool,
    is_counted: Cell<bool>,
}

impl<'r> Caller<'r> {
    pub(super) fn new(env: &'r Env, request: &'r Request, is_limited: bool) -> Caller<'r> {
        Caller { env, request, is_limited, is_counted: Cell::new(false) }
    }

    /// Counts the request towards the limit of its address, once: before anything is looked up for it that costs more.
    pub(super) async fn count(&self) -> Result<(), Refusal> {
        if !self.is_limited || self.is_counted.replace(true) {
            return Ok(());
        }
        rate_limit::hold_address(self.env, &self.network()).await
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// The other end of the connection, which workerd tells where it is not Cloudflare that runs it.
    pub(super) fn peer(&self) -> Option<String> {
        let cf = Reflect::get(self.request, &"cf".into()).ok()?;
        Reflect::get(&cf, &"clientIp".into()).ok()?.as_string()
    }

    /// By what it is counted.
    pub(super) fn network(&self) -> String {
        let connecting_ip = self.header(header::CONNECTING_IP);
        network_of_client(connecting_ip.as_deref(), self.peer().as_deref())
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = URL, js_name = canParse)]
    fn can_parse(url: &str) -> bool;
}

/// Whether a URL can be made of it: the platform knows, too, which names are addresses or badly encoded.
pub(super) fn is_host(host: &str) -> bool {
    host::is_authority(host) && can_parse(&format!("http://{host}"))
}
