//! Turns a `Reply` into the platform's response.

use worker::{Headers, Response, ResponseBuilder, Result, WebSocket};

use crate::protocol::reply::Reply;

/// A response with the reply's body.
pub(super) fn response(reply: Reply) -> Result<Response> {
    let builder = builder(&reply)?;
    Ok(if reply.body.is_empty() { builder.empty() } else { builder.fixed(reply.body) })
}

/// A response to HEAD.
pub(super) fn without_body(reply: &Reply) -> Result<Response> {
    Ok(builder(reply)?.empty())
}

/// A response that hands over a socket; its headers are those of the response that the edge will make.
pub(super) fn switching(head: &Reply, socket: WebSocket) -> Result<Response> {
    Ok(builder(head)?.with_status(Reply::SWITCHING.as_u16()).with_websocket(socket).empty())
}

fn builder(reply: &Reply) -> Result<ResponseBuilder> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.append(name, value)?;
    }
    Ok(ResponseBuilder::new().with_status(reply.status.as_u16()).with_headers(headers))
}
