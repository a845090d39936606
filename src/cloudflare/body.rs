//! Request bodies: received whole up to a limit, and always consumed, because an answer before that breaks the
//! connection.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Request};

use crate::protocol::names::header;
use crate::protocol::refusal::Refusal;

/// How much of a body that is too large is still received, so that its sender sees the answer.
const DRAIN_MAX_BYTES: usize = 64 << 20;

/// Receives a request's body.
pub(super) async fn receive(request: &Request, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let Some(stream) = request.body() else { return Ok(Vec::new()) };
    match declared_length(request) {
        Some(length) if length <= max_bytes => {
            let buffer = request.array_buffer().map_err(broken)?;
            let buffer = JsFuture::from(buffer).await.map_err(broken)?;
            Ok(Uint8Array::new(&buffer).to_vec())
        }
        _ => {
            let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
            receive_chunks(&reader, max_bytes).await
        }
    }
}

/// Receives a body that nobody wants.
pub(super) async fn drain(request: &Request) {
    if let Some(stream) = request.body() {
        let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
        let _unwanted = receive_chunks(&reader, 0).await;
    }
}

fn declared_length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH).ok().flatten()?.parse().ok()
}

async fn receive_chunks(reader: &ReadableStreamDefaultReader, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    let mut received = 0;
    while let Some(chunk) = next_chunk(reader).await? {
        received += chunk.length() as usize;
        if received <= max_bytes {
            let at = body.len();
            body.resize(received, 0);
            chunk.copy_to(&mut body[at..]);
        } else if received > DRAIN_MAX_BYTES {
            let _cancelled = JsFuture::from(reader.cancel()).await;
            break;
        } else {
            body = Vec::new();
        }
    }
    if received <= max_bytes { Ok(body) } else { Err(Refusal::BodyTooLarge { max_bytes: max_bytes as u64 }) }
}

async fn next_chunk(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, Refusal> {
    let read = JsFuture::from(reader.read()).await.map_err(broken)?;
    let done = Reflect::get(&read, &"done".into()).is_ok_and(|done| done.is_truthy());
    if done {
        return Ok(None);
    }
    Ok(Reflect::get(&read, &"value".into()).ok().and_then(|value| value.dyn_into().ok()))
}

/// Reading a body fails when its sender goes away, which is no failure of ours.
fn broken(_: JsValue) -> Refusal {
    Refusal::BrokenBody
}
