//! Request bodies: received whole up to a limit, and always consumed, because an answer before that breaks the
//! connection.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, Request};

use crate::protocol::refusal::Refusal;

/// How much of a body that is too large is still received, so that its sender sees the answer.
const DRAIN_MAX_BYTES: usize = 64 << 20;

/// Receives a request's body chunk by chunk: its length is not known before its end, or it is too large.
pub(super) async fn receive(request: &Request, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let Some(stream) = request.body() else { return Ok(Vec::new()) };
    receive_chunks(&reader_of(&stream), max_bytes).await
}

/// Receives a body that nobody wants.
pub(super) async fn drain(request: &Request) {
    if request.body_used() {
        return;
    }
    if let Some(stream) = request.body() {
        let _unwanted = receive_chunks(&reader_of(&stream), 0).await;
    }
}

fn reader_of(stream: &ReadableStream) -> ReadableStreamDefaultReader {
    stream.get_reader().unchecked_into()
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
