//! The sender of a request, as known without a token, and the rate limit of its address. Each request counts at most once.

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
    /// The id of the request.
    pub(super) id: &'r str,
    is_limited: bool,
    is_counted: Cell<bool>,
}

impl<'r> Caller<'r> {
    pub(super) fn new(env: &'r Env, request: &'r Request, id: &'r str, is_limited: bool) -> Caller<'r> {
        Caller { env, request, id, is_limited, is_counted: Cell::new(false) }
    }

    /// Counts the request once against the limit of its address, before any lookup that costs more than the request.
    pub(super) async fn count(&self) -> Result<(), Refusal> {
        if !self.is_limited || self.is_counted.replace(true) {
            return Ok(());
        }
        rate_limit::count_address(self.env, &self.network(), self.id).await
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// The client's address and port, which workerd reports only outside of Cloudflare.
    pub(super) fn peer(&self) -> Option<String> {
        let cf = Reflect::get(self.request, &"cf".into()).ok()?;
        Reflect::get(&cf, &"clientIp".into()).ok()?.as_string()
    }

    /// The client's network, which is the key of the limit: an IPv4 address or an IPv6 /64.
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

/// Whether the host can be part of a URL. The platform also recognises malformed addresses and wrong encodings.
pub(super) fn is_host(host: &str) -> bool {
    host::is_authority(host) && can_parse(&format!("http://{host}"))
}
