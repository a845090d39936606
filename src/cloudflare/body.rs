//! Request bodies: received whole up to a limit, and always consumed, because an answer before that breaks the
//! connection.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, Request};

use super::held::Holding;
use crate::object::room::COUNTED_BYTES;
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_COMING};

/// How much of a body that is too large is still received, so that its sender sees the answer.
const DRAIN_MAX_BYTES: usize = 64 << 20;

/// Receives a request's body chunk by chunk: its length is not known before its end, or it is large.
pub(super) async fn receive(request: &Request, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let Some(stream) = request.body() else { return Ok(Vec::new()) };
    let declared = request.headers().get("content-length").ok().flatten();
    let mut body = Body { max_bytes, ..Body::default() };
    if declared.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max_bytes) {
        body.refuse(Refusal::BodyTooLarge { max_bytes: max_bytes as u64 });
    }
    receive_chunks(&reader_of(&stream), body).await
}

/// Receives a body that nobody wants.
pub(super) async fn drain(request: &Request) {
    if request.body_used() {
        return;
    }
    if let Some(stream) = request.body() {
        let _unwanted = receive_chunks(&reader_of(&stream), Body::default()).await;
    }
}

fn reader_of(stream: &ReadableStream) -> ReadableStreamDefaultReader {
    stream.get_reader().unchecked_into()
}

async fn receive_chunks(reader: &ReadableStreamDefaultReader, mut body: Body) -> Result<Vec<u8>, Refusal> {
    while let Some(chunk) = next_chunk(reader).await? {
        body.take(&chunk);
        if body.received > DRAIN_MAX_BYTES {
            let _cancelled = JsFuture::from(reader.cancel()).await;
            break;
        }
    }
    match body.refusal {
        None => Ok(body.bytes),
        Some(refusal) => Err(refusal),
    }
}

/// A body that is coming.
#[derive(Default)]
struct Body {
    max_bytes: usize,
    bytes: Vec<u8>,
    received: usize,
    /// Why the rest of it is received for nothing.
    refusal: Option<Refusal>,
    holding: Option<Holding>,
    /// How much of it counts.
    counted: usize,
}

impl Body {
    fn take(&mut self, chunk: &Uint8Array) {
        self.received += chunk.length() as usize;
        if self.received > self.max_bytes {
            self.refuse(Refusal::BodyTooLarge { max_bytes: self.max_bytes as u64 });
        } else if self.refusal.is_none() && !self.has_room() {
            self.refuse(Refusal::Busy { why: TOO_MUCH_IS_COMING });
        }
        if self.refusal.is_none() {
            let at = self.bytes.len();
            self.bytes.resize(self.received, 0);
            chunk.copy_to(&mut self.bytes[at..]);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        (self.bytes, self.holding) = (Vec::new(), None);
        self.refusal = Some(refusal);
    }

    /// Whether what has come so far can be kept. It counts as what it takes while it grows.
    fn has_room(&mut self) -> bool {
        if self.received < COUNTED_BYTES || self.received <= self.counted {
            return true;
        }
        self.holding = None;
        self.counted = self.received.next_power_of_two();
        self.holding = Holding::of_body(self.counted);
        self.holding.is_some()
    }
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
